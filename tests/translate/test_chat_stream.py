from typing import Any

import pytest

from headgate.wire.translate.chat_stream import ChatStream
from headgate.wire.translate.shape import Malformed

Json = dict[str, Any]


def read(*deltas: Json, finish: str | None = "stop") -> str:
    stream, parts = ChatStream(), []
    for delta in deltas:
        parts += stream.on({"choices": [{"index": None, "delta": delta}]})
    parts += stream.on({"choices": [{"delta": {}, "finish_reason": finish}]}) + stream.end()
    names = {"CallBegun": "name", "CallEnded": "broken", "Finished": "reason"}
    return " ".join(f"{type(p).__name__}:{getattr(p, names.get(type(p).__name__, 'text'))}" for p in parts[:-1])


def call(name: str = "", arguments: Any = "", **more: Any) -> Json:
    return {"tool_calls": [{"function": {"name": name, "arguments": arguments}, **more}]}


@pytest.mark.parametrize(
    ("deltas", "finish", "told"),
    [
        ([call("get_", index=0), call("weather", index=0)], "stop", "CallBegun:get_weather CallEnded:False"),
        ([{"reasoning_details": [{"text": "r"}]}], "stop", "Reasoning:r"),
        ([{"reasoning": " "}], "stop", ""),
        ([{"content": " "}], "stop", ""),
        ([{"content": " "}, {"content": "a"}], "stop", "Text: a"),
        ([call("f"), call("f")], "stop", "CallBegun:f CallEnded:False CallBegun:f CallEnded:False"),
        ([call("f", {"a": 1})], "stop", 'CallBegun:f CallArguments:{"a":1} CallEnded:False'),
        ([call("f", id=5)], "stop", "CallBegun:f CallEnded:False"),
        ([call("f", "{", index=None)], "length", "CallBegun:f CallArguments:{ CallEnded:True"),
        ([call("f", "{")], "content_filter", "CallBegun:f CallArguments:{ CallEnded:True"),
        (
            [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}]}, {"content": "a"}],
            "stop",
            "Reasoning:r Text:a",
        ),
    ],
)
def test_what_upstreams_send(deltas: list[Json], finish: str, told: str) -> None:
    assert read(*deltas, finish=finish) == told


@pytest.mark.parametrize(
    ("deltas", "finish"),
    [
        ([{"content": "a"}], None),
        ([call("f", 5)], "stop"),
        ([call("f", index=True)], "stop"),
        ([{"function_call": {"name": "f"}}], "stop"),
        ([{"content": [{"type": "image"}]}], "stop"),
        ([call("f", index=0), call("g", index=1), call("", "{}", index=0)], "stop"),
    ],
)
def test_what_is_malformed(deltas: list[Json], finish: str | None) -> None:
    with pytest.raises(Malformed):
        read(*deltas, finish=finish)
