"""The systems under test, and the mock behind them, each started with a configuration made for the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import payloads
from bench.machine import BenchError, Child, Children, cores, free_port, need

NAMES = ("nginx", "bare", "headgate")
ROOT = Path(__file__).parents[1]


@dataclass
class System:
    """Something that listens on `port`. `key` is what it wants as a bearer token."""

    name: str
    child: Child
    port: int
    key: str = "sk-bench"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{payloads.PATH}"


_NGINX = """
{user}
worker_processes 1;
worker_rlimit_nofile 65536;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    keepalive_timeout 3600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""

_MOCK = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location {path} {{ default_type application/json; return 200 '{answer}'; }}
    }}
"""

_PROXY = """
    upstream mock {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {extra}
        }}
    }}
"""


def _nginx(children: Children, name: str, http: str, port: int, core: str) -> Child:
    folder = children.folder / name
    folder.mkdir(exist_ok=True)
    config = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(_NGINX.format(user=user, folder=folder, http=http))
    command = [need("nginx"), "-p", str(folder), "-c", str(config), "-g", "daemon off;"]
    child = children.start(name, command, core=core)
    child.wait_listening(port)
    return child


def start_mock(children: Children, core: str) -> System:
    """nginx that answers every request with the same completion."""
    port = free_port()
    answer = payloads.answer_body().decode()
    child = _nginx(children, "mock", _MOCK.format(port=port, path=payloads.PATH, answer=answer), port, core)
    return System("mock", child, port)


def start(children: Children, name: str, upstream_port: int, *, streaming: bool = False) -> System:
    core, _ = cores()
    port = free_port()
    if name == "nginx":
        extra = "proxy_buffering off;" if streaming else ""
        http = _PROXY.format(upstream=upstream_port, port=port, extra=extra)
        return System(name, _nginx(children, "nginx", http, port, core), port)
    if name == "bare":
        command = [sys.executable, "-m", "bench.bare", str(port), str(upstream_port)]
        child = children.start("bare", command, core=core, env={"PYTHONPATH": str(ROOT)})
        child.wait_listening(port)
        return System(name, child, port)
    installation = Headgate(children, "headgate", upstream_port, auth="keys", port=port)
    child = installation.start(core)
    child.wait_listening(port)
    return System(name, child, port, installation.key)


class Headgate:
    """A home, a configuration and (with `auth="keys"`) a key, made with headgate's own command line."""

    def __init__(self, children: Children, name: str, upstream_port: int, *, auth: str, port: int) -> None:
        self.children = children
        self.name = name
        home = children.folder / f"{name}-home"
        home.mkdir(exist_ok=True)
        self.config = home / "bench.yaml"
        settings = {
            "server": {"port": port},
            "auth": auth,
            "providers": [
                {
                    "name": "mock",
                    "kind": "openai",
                    "base_url": f"http://127.0.0.1:{upstream_port}/v1",
                    "api_key": "sk-bench",
                    "models": [payloads.MODEL],
                    "price": "free",
                }
            ],
            "log": {"format": "json", "level": "info"},
        }
        self.config.write_text(json.dumps(settings, indent=2))  # JSON is YAML
        self.env = {"HEADGATE_HOME": str(home), "HEADGATE_CONFIG": str(self.config), "NO_PROXY": "127.0.0.1"}
        self.key = self._make_key() if auth == "keys" else "sk-bench"

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "headgate", *arguments]

    def _make_key(self) -> str:
        done = subprocess.run(
            self.command("keys", "create", "bench", "--json"),
            env={**os.environ, **self.env},
            capture_output=True,
            timeout=60,
            check=False,
        )
        try:
            secret: str = json.loads(done.stdout)["secret"]
        except (ValueError, KeyError, TypeError):
            said = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise BenchError(f"headgate keys create gave no secret (status {done.returncode}):\n{said}") from None
        return secret

    def start(self, core: str | None = None) -> Child:
        """Starts the server. Its JSON log goes to a file."""
        command = self.command("serve", "--config", str(self.config))
        return self.children.start(self.name, command, core=core, env=self.env)


def start_all(children: Children, names: Sequence[str], upstream_port: int, *, streaming: bool) -> list[System]:
    return [start(children, name, upstream_port, streaming=streaming) for name in names]
