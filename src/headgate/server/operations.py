"""/health, /ready and /metrics: for whoever runs headgate, and for what watches it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headgate.errors import Problem, Reason
from headgate.wire import problems
from headgate.wire.dialect import Dialect

Health = Callable[[], dict[str, Any]]
Ready = Callable[[], str | None]
Metrics = Callable[[], tuple[bytes, str]]


def operations(health: Health, ready: Ready, metrics: Metrics) -> Starlette:
    """health: what is known of each part. ready: None, or why requests cannot be served yet. metrics: a page for
    Prometheus, and its content type."""

    def on_health(_: Request) -> Response:
        return _json(200, health())

    def on_ready(_: Request) -> Response:
        reason = ready()
        if reason is None:
            return _json(200, {"ready": True})
        return _json(503, {"ready": False, "reason": reason}, {"retry-after": "1"})

    def on_metrics(_: Request) -> Response:
        page, content_type = metrics()
        return Response(page, media_type=content_type)

    def on_root(_: Request) -> Response:
        return _json(200, {"name": "headgate", "see": ["/v1/models", "/health", "/ready", "/metrics"]})

    def on_missing(request: Request, _: Exception) -> Response:
        path = request.url.path
        hint = f"; did you mean /v1{path}?" if _is_inference(f"/v1{path}") else ""
        problem = Problem(Reason.NOT_FOUND, f"there is no {path[:200]} here{hint}")
        return Response(problems.body(Dialect.CHAT, problem, ""), 404, media_type="application/json")

    def on_wrong_method(request: Request, _: Exception) -> Response:
        problem = Problem(Reason.METHOD_NOT_ALLOWED, f"{request.url.path} is read with GET")
        return Response(problems.body(Dialect.CHAT, problem, ""), 405, media_type="application/json")

    routes = [
        Route("/", _sync(on_root)),
        Route("/health", _sync(on_health)),
        Route("/ready", _sync(on_ready)),
        Route("/metrics", _sync(on_metrics)),
    ]
    return Starlette(routes=routes, exception_handlers={404: on_missing, 405: on_wrong_method})


def _sync(handler: Callable[[Request], Response]) -> Any:
    """On the event loop itself: these answers are made of what is in memory, and need no thread."""

    async def endpoint(request: Request) -> Response:
        return handler(request)

    return endpoint


def _is_inference(path: str) -> bool:
    from headgate.wire.dialect import COUNT_TOKENS_PATH, PATHS

    return path in PATHS.values() or path in (COUNT_TOKENS_PATH, "/v1/models")


def _json(status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, "application/json")
