"""The choice of one tool at engines that do not look at its name."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from headgate.wire.dialect import Dialect
from headgate.wire.translate.shape import Refusal
from headgate.wire.translate.translation import Translation
from headgate.wire.translate.upstream import describe

USER = {"role": "user", "content": "x"}
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "messages": [USER],
    "tools": [{"name": name, "input_schema": {"type": "object"}} for name in ("f", "g")],
    "tool_choice": {"type": "tool", "name": "g"},
}
RESPONSES: dict[str, Any] = {
    "model": "m",
    "input": "x",
    "tools": [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("f", "g")],
    "tool_choice": {"type": "function", "name": "g"},
}


def sent(client: Dialect, fields: dict[str, Any], kind: str) -> dict[str, Any]:
    upstream = describe("up/m", "m", Dialect.CHAT, "http://127.0.0.1:8080/v1", kind)
    return orjson.loads(Translation(client, fields, upstream, 1).body)


@pytest.mark.parametrize(("client", "fields"), [(Dialect.MESSAGES, MESSAGES), (Dialect.RESPONSES, RESPONSES)])
def test_the_tool_that_must_be_called_is_the_only_one_offered(client, fields):
    body = sent(client, fields, "llamacpp")
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
    body = sent(client, fields, "vllm")
    assert body["tool_choice"] == {"type": "function", "function": {"name": "g"}} and len(body["tools"]) == 2


def test_a_choice_of_a_tool_that_is_not_offered_is_the_clients_mistake():
    with pytest.raises(Refusal) as caught:
        sent(Dialect.MESSAGES, {**MESSAGES, "tool_choice": {"type": "tool", "name": "h"}}, "llamacpp")
    assert not caught.value.valid and caught.value.field == "tool_choice"
