"""What tests of the whole gateway share: a factory of running gateways, scripted upstreams, and a real engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.conftest import running_demo_engine
from gateway.running import RunningGateway, new_key, provider
from headgate.testing import ScriptedUpstream

MakeGateway = Callable[..., RunningGateway]


@pytest.fixture
def headgate_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A HEADGATE_HOME of the test's own."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HEADGATE_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def stopping() -> Iterator[list[RunningGateway]]:
    """The gateways of all tests so far. To stop takes each a moment, for which the next test need not wait."""
    gateways: list[RunningGateway] = []
    yield gateways
    for gateway in gateways:
        gateway.stop()
    assert {str(gateway.home): errors for gateway in gateways if (errors := gateway.errors_logged())} == {}


@pytest.fixture
def gateway(headgate_home: Path, stopping: list[RunningGateway]) -> Iterator[MakeGateway]:
    """Starts a gateway: `gateway(up)` for one scripted upstream that speaks everything and has the model `m`, or
    `gateway(provider(up, ...), provider(...), auth="keys", server={...})`. It must have no defect."""
    running: list[RunningGateway] = []

    def start(*providers: Any, stall_s: float = 300.0, **sections: Any) -> RunningGateway:
        entries = [p if isinstance(p, dict) else provider(p) for p in providers]
        gateway = RunningGateway({"providers": entries, **sections}, headgate_home, stall_s)
        running.append(gateway)
        return gateway.start()

    yield start
    for one in running:
        one.ask_to_stop()
        stopping.append(one)
        assert one.defects == []


@pytest.fixture
def client_key(headgate_home: Path) -> Callable[..., str]:
    """Makes a client key before a gateway with `auth: keys` starts, and gives its secret."""
    return lambda name="alice", **limits: new_key(headgate_home, name, **limits)


@pytest.fixture
def up() -> Iterator[ScriptedUpstream]:
    """A scripted upstream on a thread of its own, that must have been sent nothing but HTTP."""
    with ScriptedUpstream() as upstream:
        yield upstream
    assert upstream.malformed == []


@pytest.fixture(scope="session")
def demo_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a real llama.cpp engine on the demonstration model."""
    with running_demo_engine(tmp_path_factory.mktemp("engine-home")) as base_url:
        yield base_url
