"""`GET /v1/models` and `/v1/models/{id}`: OpenAI's shape, and Anthropic's for who sends `anthropic-version`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from headgate.wire.stream import load_object

#: No list of models says when a gateway's names came to be; a fixed date keeps the field's type.
_CREATED = 1735689600
_CREATED_AT = "2025-01-01T00:00:00Z"


def _entry(model: str, anthropic: bool) -> dict[str, Any]:
    if anthropic:
        name = {"type": "model", "id": model, "display_name": model}
        return {**name, "created_at": _CREATED_AT, "lifecycle": "active"}
    return {"id": model, "object": "model", "created": _CREATED, "owned_by": model.partition("/")[0]}


def listing(models: Sequence[str], *, anthropic: bool) -> bytes:
    """The whole list, on one page."""
    data = [_entry(model, anthropic) for model in models]
    if anthropic:
        ends = {"first_id": models[0] if models else None, "last_id": models[-1] if models else None}
        return orjson.dumps({"data": data, "has_more": False, **ends})
    return orjson.dumps({"object": "list", "data": data})


def single(model: str, *, anthropic: bool) -> bytes:
    return orjson.dumps(_entry(model, anthropic))


def read_listing(raw: bytes) -> tuple[str, ...] | None:
    """The ids in an upstream's list of models, in its order; None where it is no such list."""
    value = load_object(raw)
    data = value.get("data") if value else None
    if not isinstance(data, list):
        return None
    ids = [item.get("id") for item in data if isinstance(item, dict)]
    return tuple(dict.fromkeys(i for i in ids if isinstance(i, str) and i))
