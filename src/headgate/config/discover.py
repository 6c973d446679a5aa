"""What there is to use where nobody has written a configuration: engines on their usual ports, keys in the environment.

An engine counts only if it answers in the shape of its own interface, because any program may listen on port 8080.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from headgate.errors import HeadgateError
from headgate.relay.upstream.client import UpstreamClient, endpoint

_PROBE_S = 0.5
_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found. provider: its entry for headgate.yaml. where: for people."""

    provider: dict[str, Any]
    where: str
    paid: bool


@dataclass(frozen=True, slots=True)
class _Engine:
    name: str
    kind: str
    port: int
    path: str
    is_it: Callable[[Any], bool]


def _has(*fields: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(field in value for field in fields)


def _lists_models_of(owner: str) -> Callable[[Any], bool]:
    def is_it(value: Any) -> bool:
        data = value.get("data") if isinstance(value, dict) else None
        return isinstance(data, list) and any(isinstance(m, dict) and m.get("owned_by") == owner for m in data)

    return is_it


def _lmstudio_models(value: Any) -> bool:
    data = value.get("data") if isinstance(value, dict) else None
    return isinstance(data, list) and all(isinstance(m, dict) and "state" in m for m in data)


#: Each engine's usual port, and a path of its own interface with what its answer must look like.
_ENGINES = (
    _Engine("ollama", "ollama", 11434, "/api/tags", _has("models")),
    _Engine("lmstudio", "lmstudio", 1234, "/api/v0/models", _lmstudio_models),
    _Engine("llamacpp", "llamacpp", 8080, "/props", _has("default_generation_settings")),
    _Engine("vllm", "vllm", 8000, "/v1/models", _lists_models_of("vllm")),
)

#: Variables that hold a key, and the OpenAI-compatible address that it opens; None where the kind has its own.
_KEYS: tuple[tuple[str, str, str, str | None], ...] = (
    ("OPENAI_API_KEY", "openai", "openai", None),
    ("ANTHROPIC_API_KEY", "anthropic", "anthropic", None),
    ("OPENROUTER_API_KEY", "openrouter", "openai", "https://openrouter.ai/api/v1"),
    ("GROQ_API_KEY", "groq", "openai", "https://api.groq.com/openai/v1"),
    ("MISTRAL_API_KEY", "mistral", "openai", "https://api.mistral.ai/v1"),
    ("DEEPSEEK_API_KEY", "deepseek", "openai", "https://api.deepseek.com/v1"),
    ("TOGETHER_API_KEY", "together", "openai", "https://api.together.xyz/v1"),
    ("XAI_API_KEY", "xai", "openai", "https://api.x.ai/v1"),
)


async def engines(upstream: UpstreamClient, host: str = "127.0.0.1") -> list[Found]:
    """The engines that answer on their usual ports, asked at the same time."""
    answers = await asyncio.gather(*(_probe(upstream, engine, host) for engine in _ENGINES))
    return [found for found in answers if found is not None]


async def _probe(upstream: UpstreamClient, engine: _Engine, host: str) -> Found | None:
    url = f"http://{host}:{engine.port}"
    try:
        status, body = await upstream.get(endpoint("GET", url + engine.path, []), _PROBE_S, _MAX_BYTES)
        answer = orjson.loads(body) if status == 200 else None
    except (HeadgateError, orjson.JSONDecodeError):
        return None
    if not engine.is_it(answer):
        return None
    return Found({"name": engine.name, "kind": engine.kind, "base_url": f"{url}/v1"}, url, paid=False)


def keys(environ: Mapping[str, str]) -> list[Found]:
    """The providers whose key is in the environment."""
    found = []
    for variable, name, kind, base_url in _KEYS:
        if not environ.get(variable, "").strip():
            continue
        entry: dict[str, Any] = {"name": name, "kind": kind, "api_key": environ[variable].strip().replace("$", "$$")}
        if base_url is not None:
            entry["base_url"] = base_url
        found.append(Found(entry, variable, paid=True))
    return found
