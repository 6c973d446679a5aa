"""`openai.embeddings`: POST /v1/embeddings; never streamed."""

from __future__ import annotations

from headgate.errors import Problem
from headgate.wire import answer, check
from headgate.wire.usage import from_openai


def check_request(fields: check.Fields) -> Problem | None:
    given = fields.get("input")
    if given is None:
        return check.bad("input", "you must provide an 'input'")
    if not isinstance(given, str | list) or given == []:
        return check.bad("input", "'input' must be a string or a non-empty list")
    if fields.get("stream"):
        return check.bad("stream", "embeddings cannot be streamed")
    return None


def read_answer(body: bytes) -> answer.Answer:
    value = answer.load(body, "embeddings")
    for item in answer.objects(value, "data", "embeddings"):
        if not isinstance(item.get("embedding"), list | str):
            raise answer.not_an_answer("an item without its embedding instead of embeddings")
    return answer.Answer(from_openai(value.get("usage")), value)
