"""A real engine for tests that want one: llama.cpp with the demonstration model, once per session.

`running_demo_engine` is a plain context manager, so that another conftest can make a fixture of it.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.engines import demo_model
from headgate.engines.process import available


@contextlib.contextmanager
def running_demo_engine(home: Path, *, within_s: float = 60.0) -> Iterator[str]:
    """A running engine's base URL (`http://127.0.0.1:PORT/v1`). Skips the test where xllamacpp is not installed."""
    if not (found := available()):
        pytest.skip(f"no embedded engine: {found.reason}")
    model = demo_model.ensure(home)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "headgate.engines.embedded", "--model", str(model), "--port", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_until_healthy(process, port, time.monotonic() + within_s)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, deadline: float) -> None:
    while True:
        assert process.poll() is None, f"the engine ended with status {process.returncode}"
        assert time.monotonic() < deadline, "the engine did not answer in time"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)


@pytest.fixture(scope="session")
def demo_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_demo_engine(tmp_path_factory.mktemp("headgate-home")) as base_url:
        yield base_url
