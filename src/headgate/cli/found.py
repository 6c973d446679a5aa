"""What a gateway serves where nobody wrote a configuration, and what it tells the person who started it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headgate.config.discover import Found
    from headgate.config.load import Loaded
    from headgate.config.schema import Config
    from headgate.engines.process import EmbeddedEngine

DEMO = "demo"
#: A gateway that is not ready by then says why.
SAY_WHY_AFTER_S = 3.0


async def discovered(loaded: Loaded, options: dict[str, object]) -> tuple[Loaded, list[Found], bool]:
    """What there is on this machine as a configuration, and whether the demonstration is needed."""
    from headgate.config import discover
    from headgate.engines.process import available
    from headgate.relay.upstream.client import UpstreamClient

    upstream = UpstreamClient()
    found = [*await discover.engines(upstream), *discover.keys(os.environ)]
    upstream.close()
    return with_providers(loaded, options, [f.provider for f in found]), found, not found and bool(available())


def with_providers(loaded: Loaded, options: dict[str, object], providers: list[dict[str, object]]) -> Loaded:
    """The settings of the environment and the command line, with these providers."""
    from headgate.config.document import Document
    from headgate.config.load import Loaded, build

    return Loaded(build(Document(values={"providers": providers}), os.environ, options), None, None)


async def start_demo(
    loaded: Loaded, options: dict[str, object], emit: Callable[[object], None]
) -> tuple[EmbeddedEngine, Loaded]:
    """The embedded engine on the demonstration model, and the configuration with it as a provider."""
    from headgate.app import state_home
    from headgate.engines import demo_model
    from headgate.engines.process import EmbeddedEngine

    model = await asyncio.to_thread(demo_model.ensure, state_home())
    engine = EmbeddedEngine(model, emit=emit)
    await engine.start()
    provider: dict[str, object] = {
        "name": DEMO,
        "kind": "llamacpp",
        "base_url": engine.base_url,
        "models": [engine.alias],
    }
    return engine, with_providers(loaded, options, [provider])


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)  # noqa: S104 - how it is shown
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, flush=True)


def say_found(loaded: Loaded, found: list[Found], url: str, starts_demo: bool) -> None:
    """What the gateway serves, and where. Never a key."""
    from headgate import __version__
    from headgate.config.settings import is_paid
    from headgate.engines.process import available

    say(f"headgate {__version__} listens on {url}")
    if loaded.path is not None:
        names = ", ".join(p.name for p in loaded.config.providers) or "none"
        say(f"  configuration: {loaded.path}")
        say(f"  providers:     {names}")
    elif found:
        say("  no configuration file; found:")
        for thing in found:
            say(f"    {thing.provider['name']:<12} {thing.where}{' (paid)' if thing.paid else ''}")
    elif starts_demo:
        say("  no configuration file, no engine on its usual port, no API key in the environment")
        say("  starting the embedded llama.cpp engine on a demonstration model with random weights: it is a real")
        say("  engine and a real model, but what it says means nothing")
    elif not loaded.config.providers:
        say("  no configuration file, no engine on its usual port, no API key in the environment")
        say(f"  and no demonstration: {available().reason}")
        say("  Write a headgate.yaml with a provider, or start an engine, and start headgate again.")
    if any(is_paid(p) for p in loaded.config.providers):
        say("  This version keeps no budget yet: what you send to a paid provider, you pay for without a limit.")
    if loaded.config.auth == "keys":
        say("  clients need a key: headgate keys create NAME")


def say_try(config: Config, url: str, models: list[str]) -> None:
    """A line to paste, with a model that costs nothing where there is one. It is printed once it works."""
    from headgate.config.settings import is_paid

    free = {p.name for p in config.providers if not is_paid(p)}
    model = next((m for m in models if m.partition("/")[0] in free), models[0] if models else "PROVIDER/MODEL")
    key = " -H 'Authorization: Bearer hg-…'" if config.auth == "keys" else ""
    say(f"Ready. Try it{'' if model.partition('/')[0] in free else ' (this model is paid)'}:")
    say(
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json'{key} "
        f'-d \'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}\''
    )
