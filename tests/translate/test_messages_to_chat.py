"""A client that speaks messages, on an upstream that speaks chat. The golden cases show whole conversations; here stand
the rules, the shapes that the vendors' own types demand, and what must hold for any input."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anthropic.types
import orjson
import pydantic
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from cases import GOLDEN, about, holds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import completion_create_params as chat_params

from headgate.wire.dialect import Dialect
from headgate.wire.translate.asked import Asked
from headgate.wire.translate.fields import MESSAGES_TO_CHAT, Fate
from headgate.wire.translate.messages_to_chat import NAMES, Stream, answer, request
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, UNSIGNED, seal
from headgate.wire.translate.shape import Malformed, Refusal
from headgate.wire.translate.upstream import Upstream, describe, hub

Json = dict[str, Any]

CASES = sorted((GOLDEN / "messages_to_chat").iterdir())
ENGINE = describe("up/qwen3-8b", "qwen3-8b", Dialect.CHAT, "http://127.0.0.1:8080/v1")
GPT_4O = describe("up/gpt-4o", "gpt-4o", Dialect.CHAT, "https://api.openai.com/v1")
GPT_5 = describe("up/gpt-5.2", "gpt-5.2", Dialect.CHAT, "https://api.openai.com/v1")
HUB = hub("up/gpt-5.2", "gpt-5.2")
GPT_OSS = describe("up/gpt-oss-20b", "gpt-oss-20b", Dialect.CHAT, "http://127.0.0.1:8080/v1")
ROUTED_GPT_5 = describe("up/openai/gpt-5-mini", "openai/gpt-5-mini", Dialect.CHAT, "https://openrouter.ai/api/v1")
UPSTREAMS = (ENGINE, GPT_4O, GPT_5, HUB)

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"name": "get_weather", "input_schema": SCHEMA}
HELLO = {"role": "user", "content": "Hello"}


def body(*messages: Json, **fields: Any) -> Json:
    return {"model": "m", "max_tokens": 100, "messages": list(messages) or [HELLO], **fields}


def user(*blocks: Json) -> Json:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def text(words: str = "Hello", **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def sent(fields: Json, upstream: Upstream = ENGINE) -> Json:
    return request(fields, upstream, [])


def drops(fields: Json, upstream: Upstream = ENGINE) -> list[str]:
    names: list[str] = []
    request(fields, upstream, names)
    return sorted(set(names))


def refused(fields: Json, upstream: Upstream = ENGINE) -> Refusal:
    with pytest.raises(Refusal) as caught:
        request(fields, upstream, [])
    return caught.value


# --- the table -------------------------------------------------------------------------------------------------------

SOURCE = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
ELSEWHERE = "What it gave back follows in the next message of the user."
USE = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}

#: A request for each row. Of a refused one, where the fault is said to be.
EXAMPLES: dict[str, Any] = {
    "model": body(),
    "messages": body(),
    "messages[].content[]:text": body(user(text())),
    "messages[].content[]:image": body(user({"type": "image", "source": SOURCE})),
    "messages[].content[]:document": body(
        user({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}})
    ),
    "messages[].content[]:search_result": body(
        user({"type": "search_result", "source": "s", "title": "t", "content": [text()]})
    ),
    "messages[].content[]:thinking": body(HELLO, assistant(THINKING, text()), HELLO),
    "messages[].content[]:redacted_thinking": body(
        HELLO, assistant({"type": "redacted_thinking", "data": "E"}, text()), HELLO
    ),
    "messages[].content[]:tool_use": body(assistant(USE), HELLO),
    "messages[].content[]:tool_result": body(user({"type": "tool_result", "tool_use_id": "toolu_1"})),
    "messages[].content[].content[]:tool_reference": (
        body(user({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference"}]})),
        "messages[0].content[0].content[0].type",
    ),
    "messages[].content[].content[]:browser_state": (
        body(user({"type": "tool_result", "tool_use_id": "t", "content": [text(), {"type": "browser_state"}]})),
        "messages[0].content[0].content[1].type",
    ),
    "messages[].content[]:image.source:file": (
        body(user({"type": "image", "source": {"type": "file", "file_id": "f"}})),
        "messages[0].content[0].source.type",
    ),
    "messages[].content[]:document.source:file": (
        body(user({"type": "document", "source": {"type": "file", "file_id": "f"}})),
        "messages[0].content[0].source.type",
    ),
    "messages[].content[]:document.source:url": (
        body(HELLO, user(text(), {"type": "document", "source": {"type": "url", "url": "https://example.com"}})),
        "messages[1].content[1].source.type",
    ),
    "messages[].content[].cache_control": body(user(text(cache_control={"type": "ephemeral"}))),
    "messages[].content[].citations": body(assistant(text(citations=[{"type": "char_location"}])), HELLO),
    "messages[].content[].transformations": body(
        user({"type": "image", "source": SOURCE, "transformations": {"oversized_image": "error"}})
    ),
    "messages[].content[].caller": body(assistant({**USE, "caller": {"type": "code_execution_20260521"}}), HELLO),
    "messages[].content[].toolset_name": (
        body(assistant({**USE, "toolset_name": "browser"}), HELLO),
        "messages[0].content[0].toolset_name",
    ),
    "system": body(system="Be brief."),
    "system[].cache_control": body(system=[text(cache_control={"type": "ephemeral"})]),
    "system[].citations": body(system=[text(citations=[{}])]),
    "max_tokens": body(),
    "stream": body(stream=True),
    "stop_sequences": body(stop_sequences=["x"]),
    "temperature": body(temperature=0.5),
    "top_p": body(top_p=0.5),
    "top_k": body(top_k=5),
    "tools": body(tools=[TOOL]),
    "tools[].cache_control": body(tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}]),
    "tools[].defer_loading": body(tools=[{**TOOL, "defer_loading": True}]),
    "tools[].allowed_callers": body(tools=[{**TOOL, "allowed_callers": ["code_execution_20260521"]}]),
    "tools[].input_examples": body(tools=[{**TOOL, "input_examples": [{}]}]),
    "tools[].eager_input_streaming": body(tools=[{**TOOL, "eager_input_streaming": True}]),
    "tool_choice": body(tools=[TOOL], tool_choice={"type": "any"}),
    "thinking": body(thinking={"type": "enabled", "budget_tokens": 2000}),
    "thinking.display": body(thinking={"type": "adaptive", "display": "omitted"}),
    "thinking.block_binding": body(thinking={"type": "adaptive", "block_binding": {"x": 1}}),
    "output_config": body(output_config={"effort": "low"}),
    "output_config.effort": body(output_config={"effort": "low"}),
    "output_config.task_budget": body(output_config={"task_budget": {"type": "tokens", "total": 9}}),
    "output_format": body(output_format={"type": "json_schema", "schema": SCHEMA}),
    "metadata": body(metadata={"user_id": "u"}),
    "metadata.*": body(metadata={"team": "blue"}),
    "container": (body(container="c"), "container"),
    "mcp_servers": (body(mcp_servers=[{"name": "x"}]), "mcp_servers"),
    "inference_geo": (body(inference_geo="us"), "inference_geo"),
    "cache_control": body(cache_control={"type": "ephemeral"}),
    "context_management": body(context_management={"edits": []}),
    "diagnostics": body(diagnostics={"previous_message_id": "m"}),
    "service_tier": body(service_tier="priority"),
    "speed": body(speed="fast"),
    "user_profile_id": body(user_profile_id="u"),
    "workspace_id": body(workspace_id="w"),
}
for _row, _fate in MESSAGES_TO_CHAT.items():
    if _row.startswith("messages[].content[]:") and _row not in EXAMPLES:
        _kind = _row.rpartition(":")[2]
        EXAMPLES[_row] = (body(HELLO, assistant({"type": _kind}), HELLO), "messages[1].content[0].type")
    elif _row.startswith("tools[]:"):
        EXAMPLES[_row] = (body(tools=[TOOL, {"type": _row.rpartition(":")[2], "name": "bash"}]), "tools[1].type")


def said(**message: Any) -> Json:
    return {"messages": [message]}


def asked_for(schema: Json) -> Json:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


#: For every row that is carried, what must be in the body that is made of its example.
BECOMES: dict[str, Json] = {
    "model": {"model": "qwen3-8b"},
    "messages": {"messages": [HELLO]},
    "messages[].content[]:text": {"messages": [HELLO]},
    "messages[].content[]:image": said(
        content=[{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    ),
    "messages[].content[]:document": said(role="user", content="x"),
    "messages[].content[]:search_result": said(role="user", content="t\ns\n\nHello"),
    "messages[].content[]:thinking": said(role="assistant", content="Hello", reasoning_content="Hm."),
    "messages[].content[]:tool_use": said(
        role="assistant", tool_calls=[{"id": "toolu_1", "function": {"name": "f", "arguments": "{}"}}]
    ),
    "messages[].content[]:tool_result": said(role="tool", tool_call_id="toolu_1", content=""),
    "system": said(role="system", content="Be brief."),
    "max_tokens": {"max_tokens": 100},
    "stream": {"stream": True, "stream_options": {"include_usage": True}},
    "stop_sequences": {"stop": ["x"]},
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.5},
    "top_k": {"top_k": 5},
    "tools": {"tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]},
    "tool_choice": {"tool_choice": "required"},
    "thinking": {"reasoning_effort": "low"},
    "output_config": {"reasoning_effort": "low"},
    "output_config.effort": {"reasoning_effort": "low"},
    "output_format": asked_for(SCHEMA),
    "metadata": {"user": "u"},
}


def test_every_row_of_the_table_has_an_example():
    assert set(EXAMPLES) == set(MESSAGES_TO_CHAT)
    assert set(BECOMES) == {name for name, row in MESSAGES_TO_CHAT.items() if row.fate is Fate.CARRIED}


@pytest.mark.parametrize("name", MESSAGES_TO_CHAT)
def test_a_row_of_the_table_is_true(name: str):
    row = MESSAGES_TO_CHAT[name]
    if row.fate is Fate.REFUSED:
        fields, where = EXAMPLES[name]
        fault = refused(fields)
        assert (fault.field, fault.valid) == (where, True)
        assert row.note in fault.why
        assert ENGINE.sentence in fault.why
    elif row.fate is Fate.DROPPED:
        assert drops(EXAMPLES[name]) == [name]
    else:
        assert drops(EXAMPLES[name]) == []
        assert holds(sent(EXAMPLES[name]), BECOMES[name])


def _with(fields: Json, path: list[str], value: Any) -> Json:
    """The request with another value where the example of a row has its own."""
    made = copy.deepcopy(fields)
    place: Any = made
    for name in path[:-1]:
        listed = name.endswith("[]")
        place = place[name.removesuffix("[]")]
        place = place[0] if listed else place
    place[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("name", "idle"),
    [
        (name, idle)
        for name, row in MESSAGES_TO_CHAT.items()
        if row.fate is not Fate.CARRIED and ":" not in name and "*" not in name
        for idle in (None, *row.idle)
    ],
)
def test_what_asks_for_nothing_is_passed_over(name: str, idle: Any):
    example = EXAMPLES[name]
    fields = _with(example[0] if isinstance(example, tuple) else example, name.split("."), idle)
    assert drops(fields) == []


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (body(compaction={}), "compaction"),
        (body({**HELLO, "clear_at": "next_user_message"}), "messages[0].clear_at"),
        (body(user(text(new=1))), "messages[0].content[0].new"),
        (body(tools=[{**TOOL, "new": 1}]), "tools[0].new"),
        (body(tool_choice={"type": "auto", "new": 1}), "tool_choice.new"),
        (body(thinking={"type": "adaptive", "new": 1}), "thinking.new"),
        (body(output_config={"new": 1}), "output_config.new"),
        (body(output_format={"type": "json_schema", "schema": {}, "new": 1}), "output_format.new"),
        (body(output_config={"format": {"type": "json_schema", "schema": {}, "new": 1}}), "output_config.format.new"),
        (body(user({"type": "new"})), "messages[0].content[0].type"),
        (body(tools=[{"type": "new"}]), "tools[0].type"),
        (body(user({"type": "image", "source": {"type": "new"}})), "messages[0].content[0].source.type"),
        (body(user({"type": "image", "source": {**SOURCE, "new": 1}})), "messages[0].content[0].source.new"),
        (
            body(user({"type": "image", "source": {"type": "url", "url": "https://a.b/c", "new": 1}})),
            "messages[0].content[0].source.new",
        ),
        (
            body(user({"type": "document", "source": {"type": "text", "data": "x", "new": 1}})),
            "messages[0].content[0].source.new",
        ),
        (
            body(user({"type": "document", "source": {"type": "content", "content": "x", "new": 1}})),
            "messages[0].content[0].source.new",
        ),
        (
            body(user({"type": "tool_result", "tool_use_id": "t", "content": [text(new=1)]})),
            "messages[0].content[0].content[0].new",
        ),
        (body(user(text(new=False))), "messages[0].content[0].new"),
        (
            body(
                output_format={"type": "json_schema", "schema": {}},
                output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
            ),
            "output_format",
        ),
        (body(max_tokens=0), "max_tokens"),
        (body(thinking={"type": "new"}), "thinking.type"),
        (body(output_config={"effort": "new"}), "output_config.effort"),
        (body(output_config={"format": {"type": "new"}}), "output_config.format.type"),
    ],
)
def test_what_is_not_known_is_refused_and_named(fields: Json, where: str):
    fault = refused(fields)
    assert (fault.field, fault.valid) == (where, True)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (body(system=1), "system"),
        (body(system=[{"type": "image"}]), "system[0].type"),
        ({"model": "m", "messages": "x"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        (body({"role": "tool", "content": "x"}), "messages[0].role"),
        (body({"role": "user", "content": 5}), "messages[0].content"),
        (body({"role": "system", "content": ""}), "messages"),
        (body({"role": "user", "content": ["x"]}), "messages[0].content"),
        (body(user(text(1))), "messages[0].content[0].text"),
        (body(user(USE)), "messages[0].content[0].type"),
        (body(assistant({"type": "image", "source": SOURCE})), "messages[0].content[0].type"),
        (body(assistant({**USE, "input": "{}"})), "messages[0].content[0].input"),
        (body(assistant({"type": "thinking", "thinking": "x", "signature": 1})), "messages[0].content[0].signature"),
        (body(user({"type": ["x"]})), "messages[0].content[0].type"),
        (body(user({"type": "tool_result"})), "messages[0].content[0].tool_use_id"),
        (
            body(user({"type": "tool_result", "tool_use_id": "t", "is_error": 1})),
            "messages[0].content[0].is_error",
        ),
        (
            body(user({"type": "document", "source": {"type": "content", "content": [text(), USE]}})),
            "messages[0].content[0].source.content[1].type",
        ),
        (body(max_tokens="1"), "max_tokens"),
        (body(max_tokens=-1), "max_tokens"),
        (body(stream=1), "stream"),
        (body(temperature="hot"), "temperature"),
        (body(top_k=True), "top_k"),
        (body(stop_sequences="x"), "stop_sequences"),
        (body(tools={}), "tools"),
        (body(tools=[{"name": "f"}]), "tools[0].input_schema"),
        (body(tool_choice={"type": "required"}), "tool_choice.type"),
        (body(tool_choice={"type": "tool"}), "tool_choice.name"),
        (body(thinking="on"), "thinking"),
        (body(thinking={"type": "enabled"}), "thinking.budget_tokens"),
        (body(output_config=[]), "output_config"),
        (body(metadata={"user_id": 1}), "metadata.user_id"),
    ],
)
def test_what_the_dialect_does_not_allow_is_the_clients_fault(fields: Json, where: str):
    fault = refused(fields)
    assert (fault.field, fault.valid) == (where, False)


def test_input_that_is_nested_too_deeply_to_be_written_is_refused():
    deep: Json = {}
    for _ in range(300):
        deep = {"a": deep}
    fault = refused(body(assistant({**USE, "input": deep}), HELLO))
    assert (fault.field, fault.valid) == ("messages[0].content[0].input", False)


def test_names_of_the_chat_in_the_middle_are_of_fields_that_the_client_has():
    assert set(NAMES.values()) <= set(MESSAGES_TO_CHAT)


# --- the request -----------------------------------------------------------------------------------------------------


def test_empty_system_prompts_make_no_message():
    assert sent(body(system=""))["messages"] == sent(body(system=[]))["messages"] == [HELLO]


def test_a_user_who_said_nothing_has_empty_content_unless_results_were_given():
    result = {"type": "tool_result", "tool_use_id": "t", "content": []}
    empty, null, tool = sent(body(user(), {"role": "user", "content": None}, user(result)))["messages"]
    assert empty == null == {"role": "user", "content": ""}
    assert tool == {"role": "tool", "tool_call_id": "t", "content": ""}


def test_several_texts_of_the_user_stay_apart_and_one_becomes_a_string():
    one, two = sent(body(user(text("a")), user(text("a"), text("b"))))["messages"]
    assert one["content"] == "a"
    assert [part["text"] for part in two["content"]] == ["a", "b"]


def test_results_come_before_the_rest_and_in_order():
    results = [{"type": "tool_result", "tool_use_id": f"t{i}", "content": str(i)} for i in range(3)]
    messages = sent(body(user(text("a"), results[0], results[1], text("b"), results[2])))["messages"]
    assert [m["role"] for m in messages] == ["tool", "tool", "tool", "user"]
    assert [m["content"] for m in messages[:3]] == ["0", "1", "2"]


def test_files_of_results_follow_in_one_message_with_what_the_user_says():
    image = {"type": "image", "source": SOURCE}
    results = [{"type": "tool_result", "tool_use_id": f"t{i}", "content": [image]} for i in range(2)]
    *tools, follow = sent(body(user(*results, text("Well?"))))["messages"]
    assert [(m["role"], m["content"]) for m in tools] == [("tool", ELSEWHERE), ("tool", ELSEWHERE)]
    assert [part["type"] for part in follow["content"]] == ["text", "image_url", "text", "image_url", "text"]
    assert "t1" in follow["content"][2]["text"]


def test_on_the_hub_images_stay_in_their_results():
    image = {"type": "image", "source": SOURCE}
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    result: Json = {"type": "tool_result", "tool_use_id": "t", "content": [image, text("a"), text("b")]}
    tool, follow = sent(body(user(result, text("Well?"))), HUB)["messages"]
    assert tool["content"] == [part, text("a"), text("b")] and follow["content"] == "Well?"
    (tool,) = sent(body(user({**result, "is_error": True})), HUB)["messages"]
    assert tool["content"] == [text("Error:"), part, text("a"), text("b")]
    (tool,) = sent(body(user({**result, "content": [text("a"), text("b")]})), HUB)["messages"]
    assert tool["content"] == "a\n\nb"


def test_a_failed_call_that_gave_back_only_an_image_is_marked_too():
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": SOURCE}]}
    assert sent(body(user({**result, "is_error": True})))["messages"][0]["content"] == f"Error: {ELSEWHERE}"


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_prompts_at_the_beginning_are_one_for_the_templates_of_local_models(upstream: Upstream):
    prompts = [{"role": "system", "content": words} for words in ("b", [text("c"), text("d")], "")]
    made = sent(body(*prompts, HELLO, prompts[0], HELLO, system="a"), upstream)["messages"]
    first = ["a\n\nb\n\nc\n\nd"] if upstream is ENGINE else ["a", "b", "c\n\nd"]
    assert [(m["role"], m["content"]) for m in made] == [
        *[("system", words) for words in first],
        ("user", "Hello"),
        ("system", "b"),
        ("user", "Hello"),
    ]


def test_a_form_that_is_asked_for_in_both_places_alike_is_asked_for_once():
    form = {"type": "json_schema", "schema": SCHEMA}
    both = body(output_format=form, output_config={"format": form})
    assert sent(both) == sent(body(output_format=form)) and drops(both) == []


@pytest.mark.parametrize(
    ("said", "becomes"), [("no", "Error: no"), ("ERROR no", "ERROR no"), (" error", " error"), (None, "Error: ")]
)
def test_a_failed_call_is_marked_once(said: str | None, becomes: str):
    result = {"type": "tool_result", "tool_use_id": "t", "content": said, "is_error": True}
    assert sent(body(user(result)))["messages"][0]["content"] == becomes


def test_an_id_that_openai_would_refuse_is_the_same_in_call_and_result():
    long = "toolu_" + "x" * 60
    call, result = sent(
        body(assistant({**USE, "id": long}), user({"type": "tool_result", "tool_use_id": long}), HELLO)
    )["messages"][:2]
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert len(result["tool_call_id"]) <= 40


def test_an_assistant_who_said_nothing_has_empty_content_and_one_who_only_called_has_none():
    silent, called = sent(body(assistant(), assistant(USE), HELLO))["messages"][:2]
    assert silent == {"role": "assistant", "content": ""}
    assert called["content"] is None


@pytest.mark.parametrize(
    ("upstream", "thinking", "config", "effort", "names"),
    [
        (ENGINE, {"type": "enabled", "budget_tokens": 1024}, None, "low", []),
        (ENGINE, {"type": "enabled", "budget_tokens": 99_999}, None, "high", []),
        (ENGINE, {"type": "enabled", "budget_tokens": 1024}, {"effort": "max"}, "high", []),
        (ENGINE, {"type": "adaptive"}, None, None, []),
        (ENGINE, {"type": "adaptive"}, {"effort": "low"}, "low", []),
        (ENGINE, {"type": "between_tools"}, None, None, []),
        (ENGINE, {"type": "disabled"}, None, "none", []),
        (ENGINE, {"type": "disabled"}, {"effort": "low"}, "none", ["output_config.effort"]),
        (Upstream("up/m", "m", Dialect.CHAT, efforts=("low", "high")), {"type": "disabled"}, None, None, []),
        (GPT_OSS, {"type": "disabled"}, None, None, []),
        (ROUTED_GPT_5, {"type": "disabled"}, None, None, []),
        (GPT_5, {"type": "disabled"}, None, None, []),
        (HUB, {"type": "disabled"}, None, "none", []),
        (HUB, {"type": "between_tools"}, None, None, []),
        (GPT_5, None, {"effort": "xhigh"}, "xhigh", []),
        (GPT_4O, {"type": "adaptive"}, None, None, ["thinking"]),
        (GPT_4O, {"type": "disabled"}, {"effort": "low"}, None, ["output_config.effort"]),
        (GPT_4O, None, {"effort": "low"}, None, ["output_config.effort"]),
        (
            Upstream("up/m", "m", Dialect.CHAT),
            {"type": "enabled", "budget_tokens": 1024},
            {"effort": "low"},
            None,
            ["output_config.effort", "thinking"],
        ),
        (
            Upstream("up/m", "m", Dialect.CHAT, efforts=("low", "high")),
            {"type": "enabled", "budget_tokens": 8000},
            None,
            "low",
            [],
        ),
    ],
)
def test_thinking_and_effort(upstream: Upstream, thinking: Any, config: Any, effort: str | None, names: list[str]):
    fields = body(thinking=thinking, output_config=config)
    assert sent(fields, upstream).get("reasoning_effort") == effort
    assert drops(fields, upstream) == names


def test_a_model_that_takes_one_of_two_sampling_parameters_is_sent_temperature():
    from headgate.wire.translate.upstream import Sampling

    one = Upstream("up/m", "m", Dialect.CHAT, sampling=Sampling.ONE)
    assert drops(body(temperature=0.5, top_p=0.5), one) == ["top_p"]
    assert drops(body(top_p=0.5), one) == []


def test_sampling_that_asks_for_what_is_the_default_anyway_is_left_out_silently():
    fields = body(temperature=1, top_p=1.0)
    assert drops(fields, GPT_5) == []
    assert not {"temperature", "top_p"} & set(sent(fields, GPT_5))


@pytest.mark.parametrize("upstream", [GPT_4O, HUB])
def test_a_beginning_of_the_answer_is_refused_where_it_would_not_be_continued(upstream: Upstream):
    assert refused(body(HELLO, assistant(text("The"))), upstream).field == "messages[1]"


def test_long_users_stay_apart_on_openai():
    first, second = ("u" * 64 + end for end in "ab")
    users = [sent(body(metadata={"user_id": user}), GPT_4O)["user"] for user in (first, second)]
    assert users[0] != users[1]
    assert {len(user) for user in users} == {32}
    assert sent(body(metadata={"user_id": first}))["user"] == first


def test_the_request_is_not_changed():
    for case in CASES:
        fields = orjson.loads((case / "request.json").read_bytes())
        before = copy.deepcopy(fields)
        for upstream in UPSTREAMS:
            with suppress(Refusal):
                request(fields, upstream, [])
            assert fields == before


# --- reasoning on the hub --------------------------------------------------------------------------------------------


def test_the_hub_is_given_each_kind_of_reasoning_in_the_form_that_its_vendor_takes_back():
    sealed = seal({"data": "gAAA", "id": "rs_1", "format": OPENAI})
    blocks = [
        THINKING,
        {"type": "redacted_thinking", "data": "Eo8C"},
        {"type": "thinking", "thinking": "Sum.", "signature": sealed},
        {"type": "thinking", "thinking": "", "signature": sealed},
        {"type": "thinking", "thinking": "Mine.", "signature": UNSIGNED},
        {"type": "thinking", "thinking": "Broken.", "signature": "hg1.!"},
    ]
    message = sent(body(HELLO, assistant(*blocks, text()), HELLO), HUB)["messages"][1]
    assert message["reasoning_content"] == "Hm.\n\nSum.\n\nMine.\n\nBroken."
    item = {"id": "rs_1", "format": OPENAI}
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "signature": "EqQB", "format": ANTHROPIC, "index": 0},
        {"type": "reasoning.encrypted", "data": "Eo8C", "format": ANTHROPIC, "index": 1},
        {"type": "reasoning.summary", "summary": "Sum.", **item, "index": 2},
        {"type": "reasoning.encrypted", "data": "gAAA", **item, "index": 2},
        {"type": "reasoning.encrypted", "data": "gAAA", **item, "index": 3},
        {"type": "reasoning.text", "text": "Mine.", "index": 4},
        {"type": "reasoning.text", "text": "Broken.", "index": 5},
    ]


def test_only_the_hub_is_given_what_was_sealed():
    sealed = seal({"data": "gAAA", "id": "rs_1", "format": OPENAI})
    fields = body(HELLO, assistant({"type": "thinking", "thinking": "Sum.", "signature": sealed}, text()), HELLO)
    assert sent(fields)["messages"][1] == {"role": "assistant", "content": "Hello", "reasoning_content": "Sum."}
    assert "hg1." not in json.dumps(sent(fields, GPT_5)) + json.dumps(sent(fields, HUB))
    assert drops(fields, GPT_5) == ["messages[].content[]:thinking"]


def test_reasoning_of_another_vendor_goes_to_the_client_and_comes_back_as_it_was():
    entries = [
        {"type": "reasoning.summary", "summary": "Sum.", "id": "rs_1", "format": OPENAI, "index": 0},
        {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": OPENAI, "index": 0},
        {"type": "reasoning.encrypted", "data": "gBBB", "id": "rs_2", "format": OPENAI, "index": 1},
        {"type": "reasoning.text", "text": "Hm.", "signature": "EqQB", "format": ANTHROPIC, "index": 2},
        {"type": "reasoning.encrypted", "data": "Eo8C", "format": ANTHROPIC, "index": 3},
    ]
    content = whole({"content": "42", "reasoning_details": entries})["content"]
    again = sent(body(HELLO, {"role": "assistant", "content": content}, HELLO), HUB)["messages"][1]
    assert again["reasoning_details"] == entries
    assert again["content"] == "42"


# --- answers and streams ---------------------------------------------------------------------------------------------


def asked(**fields: Any) -> Asked:
    return Asked(body(**fields), {}, ENGINE, 1_700_000_000)


def whole(message: Json, reason: Any = "stop", **choice: Any) -> Json:
    value = {"id": "chatcmpl-1", "model": "m", "choices": [{"message": message, "finish_reason": reason, **choice}]}
    return answer(value, asked(stop_sequences=["END"]))


def chunk(delta: Any, reason: Any = None, **choice: Any) -> Json:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason, **choice}]
    return {"id": "chatcmpl-1", "model": "m", "choices": choices}


def streamed(*deltas: Json, reason: str = "stop") -> list[Json]:
    stream = Stream(asked(stop_sequences=["END"]))
    events = [event for delta in deltas for event in stream.on(chunk(delta))]
    return events + stream.on(chunk({}, reason)) + stream.end()


def piece(index: int | None = None, id: str | None = None, name: str | None = None, arguments: str = "") -> Json:
    call: Json = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [{key: value for key, value in call.items() if value is not None}]}


EVENT: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(anthropic.types.RawMessageStreamEvent)


def added_up(events: list[Json]) -> anthropic.types.Message:
    """What the vendor's own client makes of a stream; asserts the order of events that it relies on."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    opened, open_block = 0, -1
    assert [events[0]["type"], events[-2]["type"], events[-1]["type"]] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    for event in events:
        parsed = EVENT.validate_python(event, strict=True)
        assert set(event) == {name for name in event if name in type(parsed).model_fields}
        if event["type"] == "content_block_start":
            assert (event["index"], open_block) == (opened, -1)
            open_block, opened = opened, opened + 1
        elif event["type"] == "content_block_delta":
            assert event["index"] == open_block
            kind = event["delta"]["type"]
            assert all(value for value in event["delta"].values()), f"an empty {kind}"
        elif event["type"] == "content_block_stop":
            assert event["index"] == open_block
            open_block = -1
        else:
            assert open_block == -1
        snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)
    assert isinstance(snapshot, anthropic.types.Message)
    return snapshot


def blocks(message: anthropic.types.Message) -> list[tuple[Any, ...]]:
    """What matters of each block."""
    told: list[tuple[Any, ...]] = []
    for block in message.content:
        if block.type == "text":
            told.append(("text", block.text))
        elif block.type == "thinking":
            told.append(("thinking", block.thinking, block.signature))
        elif block.type == "tool_use":
            told.append(("tool_use", block.id, block.name, block.input))
        else:
            told.append((block.type,))
    return told


def test_text_after_a_call_and_reasoning_after_text_open_blocks_of_their_own():
    message = added_up(
        streamed(
            {"reasoning_content": "a"},
            {"content": "b"},
            {"reasoning_content": "c"},
            piece(0, "t0", "f", "{}"),
            {"content": "d"},
            piece(1, "t1", "g"),
        )
    )
    assert blocks(message) == [
        ("thinking", "a", UNSIGNED),
        ("text", "b"),
        ("thinking", "c", UNSIGNED),
        ("tool_use", "t0", "f", {}),
        ("text", "d"),
        ("tool_use", "t1", "g", {}),
    ]
    assert message.stop_reason == "tool_use"


def test_reasoning_told_twice_in_one_delta_is_taken_once():
    details = [{"type": "reasoning.text", "text": "a", "format": "unknown", "index": 0}]
    message = added_up(streamed({"reasoning": "a", "reasoning_content": "a", "reasoning_details": details}))
    assert blocks(message) == [("thinking", "a", UNSIGNED)]


def test_plain_reasoning_is_taken_where_the_details_hold_only_what_is_sealed():
    details = [{"type": "reasoning.encrypted", "data": "gA", "format": OPENAI}]
    message = added_up(streamed({"reasoning": "a"}, {"reasoning": "b", "reasoning_details": details}, {"content": "c"}))
    assert blocks(message) == [("thinking", "ab", seal({"data": "gA", "format": OPENAI})), ("text", "c")]


def test_details_of_vendors_whose_form_is_not_known_are_left_out():
    details = [{"type": "reasoning.encrypted", "data": "x", "format": "google-gemini-v1"}, {"type": "other"}, 7]
    assert blocks(added_up(streamed({"content": "a", "reasoning_details": details}))) == [("text", "a")]


def test_two_thoughts_are_two_blocks_and_each_has_its_own_signature():
    def thought(index: int, **more: Any) -> Json:
        return {"reasoning_details": [{"type": "reasoning.text", "format": ANTHROPIC, "index": index, **more}]}

    message = added_up(
        streamed(
            thought(0, text="a"), thought(0, signature="A"), thought(1, text="b"), thought(1, text="c", signature="B")
        )
    )
    assert blocks(message) == [("thinking", "a", "A"), ("thinking", "bc", "B")]
    message = added_up(streamed(thought(0, text="a"), thought(1, text="b"), thought(1, text="c")))
    assert blocks(message) == [("thinking", "a", UNSIGNED), ("thinking", "bc", UNSIGNED)]


def test_what_follows_a_signature_is_another_thought():
    signed = {"reasoning_details": [{"type": "reasoning.text", "format": ANTHROPIC, "signature": "A"}]}
    message = added_up(streamed({"reasoning": "a"}, signed, signed, {"reasoning": "b"}, {"content": "c"}, signed))
    assert blocks(message) == [
        ("thinking", "a", "A"),
        ("thinking", "b", UNSIGNED),
        ("text", "c"),
        ("thinking", "", "A"),
    ]


def test_a_signature_of_an_unknown_form_is_not_given_out_as_anthropics():
    details = [{"type": "reasoning.text", "text": "a", "format": "google-gemini-v1", "signature": "S"}]
    assert blocks(added_up(streamed({"reasoning_details": details}))) == [("thinking", "a", UNSIGNED)]


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        (["<think>a</think>b"], [("thinking", "a", UNSIGNED), ("text", "b")]),
        (["<thi", "nk>a</th", "ink>\n\nb"], [("thinking", "a", UNSIGNED), ("text", "b")]),
        (["<think>a"], [("thinking", "a", UNSIGNED)]),
        (["<thi"], [("text", "<thi")]),
        (["a <think>b</think>"], [("text", "a <think>b</think>")]),
        (["<think>\n\n</think>\n\n", "b"], [("text", "b")]),
    ],
)
def test_think_tags_become_reasoning(pieces: list[str], told: list[Any]):
    assert blocks(added_up(streamed(*({"content": said} for said in pieces)))) == told


def test_think_tags_are_text_where_reasoning_came_apart():
    message = added_up(streamed({"reasoning_content": "a"}, {"content": "<think>b</think>"}))
    assert blocks(message) == [("thinking", "a", UNSIGNED), ("text", "<think>b</think>")]


def test_white_space_makes_no_block_and_does_not_end_one():
    message = added_up(
        streamed(
            {"content": "\n\n"},
            piece(0, "t0", "f", '{"a":'),
            {"content": "\n"},
            piece(0, arguments="1}"),
            {"content": "\n"},
            {"content": "b"},
            {"content": " "},
        )
    )
    assert blocks(message) == [("tool_use", "t0", "f", {"a": 1}), ("text", "\n\nb ")]


def test_the_name_of_a_call_may_come_late_and_in_pieces_and_again():
    message = added_up(
        streamed(
            piece(0, "t0"),
            piece(0, name="get_"),
            piece(0, name="time"),
            piece(0, "t0", "get_time", "{}"),
            piece(1, arguments='{"a"'),
            piece(1, "t1"),
            piece(1, arguments=":1"),
            piece(1, name="f", arguments="}"),
        )
    )
    assert blocks(message) == [("tool_use", "t0", "get_time", {}), ("tool_use", "t1", "f", {"a": 1})]


@pytest.mark.parametrize(
    "pieces",
    [
        [piece(0, "a", "f", '{"x":1}'), piece(0, "b", "g", "{}")],  # each is the first
        [piece(None, "a", "f"), piece(arguments='{"x":1}'), piece(None, "b", "g"), piece(None, "b", arguments="{}")],
        [piece(0, "a", "f", '{"x"'), piece(0, "z", None, ":1}"), piece(1, "b", "g", "{}")],  # an id for each piece
        [piece(0, "a", "f", '{"x"'), piece(0, "a", "f", ":1}"), piece(7, "b", "g", "{}")],
        [piece(1, "a", "f", '  {"x":1}'), piece(0, "b", "g", " ")],
        [{"tool_calls": [*piece(0, "a", "f", '{"x":1}')["tool_calls"], *piece(1, "b", "g", "")["tool_calls"]]}],
        [piece(0, "a", "f", '{"x":1}'), {"content": "\n"}, piece(0, "b", "g", "{}")],
        [piece(0, "a", "f", '{"x":1}'), {"content": "c"}, piece(0, "b", "g", "{}")],
    ],
)
def test_calls_are_told_apart_however_the_server_counts_them(pieces: list[Json]):
    told = [block for block in blocks(added_up(streamed(*pieces))) if block[0] == "tool_use"]
    assert told == [("tool_use", "a", "f", {"x": 1}), ("tool_use", "b", "g", {})]


def test_calls_of_one_id_or_none_have_different_ids_and_the_same_each_time():
    def ids() -> list[str]:
        deltas = [piece(0, "x", "f"), piece(1, "x", "f"), piece(2, None, "f"), piece(3, "", "f")]
        return [block[1] for block in blocks(added_up(streamed(*deltas)))]

    assert len(set(ids())) == 4
    assert ids() == ids()
    assert ids()[0] == "x"


@pytest.mark.parametrize(
    "deltas",
    [
        [piece(0, "a", "f", "{"), piece(1, "b", "g", "{}"), piece(0, arguments="}")],
        [piece(0, "a", "f", '{"x":1'), piece(1, "b", "g", "{}")],
        [piece(0, "a", "f", "{}"), {"content": "x"}, piece(0, arguments="{}")],
        [piece(None, "a", "f", "{}"), piece(None, "b", "g", "{}"), piece(None, "a", arguments="{}")],
        [piece(0, "a", "f", "{}"), piece(1, "b", "g", "{}"), piece(0, None, "f", "{}")],
        [piece(0, "a", "f", "{}"), {"content": "x"}, piece(0, None, "f", "{}")],
        [piece(0, "a", "f", "[1]")],
        [piece(0, "a", "f", "{}"), piece(0, "a", "g", "{}")],
        [piece(0, "a", arguments="{}")],
        [piece(0, "a"), {"content": "x"}],
        [{"tool_calls": [{"index": 0, "type": "custom", "custom": {"name": "f"}}]}],
        [{"tool_calls": [{"index": "0", "function": {"name": "f"}}]}],
        [{"tool_calls": {"index": 0}}],
        [{"tool_calls": ["f"]}],
        [{"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": {}}}, {"index": 0, "function": 1}]}],
        [{"function_call": {"name": "f"}}],
        [{"content": ["x"]}],
        [{"refusal": 1}],
    ],
)
def test_what_cannot_be_a_message_is_malformed(deltas: list[Json]):
    with pytest.raises(Malformed):
        streamed(*deltas)


@pytest.mark.parametrize("more", [{"content": "x"}, {"refusal": "x"}, piece(0, "a", "f")])
def test_an_answer_that_goes_on_after_its_end_is_malformed(more: Json):
    stream = Stream(asked())
    stream.on(chunk({"content": "a"}, "stop"))
    assert stream.on(chunk({"content": "", "reasoning": "late"}, "stop")) == []
    with pytest.raises(Malformed):
        stream.on(chunk(more))


@pytest.mark.parametrize("choices", [1, ["x"], [chunk({})["choices"][0]] * 2, [{"index": 1, "delta": {}}]])
def test_other_choices_than_the_one_asked_for_are_malformed(choices: Any):
    with pytest.raises(Malformed):
        Stream(asked()).on({"choices": choices})
    with pytest.raises(Malformed):
        answer({"choices": choices}, asked())


def test_a_stream_that_never_finished_is_malformed():
    stream = Stream(asked())
    stream.on(chunk({"content": "a"}))
    with pytest.raises(Malformed):
        stream.end()


def test_no_event_waits_for_more_than_it_needs():
    stream = Stream(asked())
    assert [e["type"] for e in stream.on(chunk({"role": "assistant", "content": ""}))] == ["message_start"]
    for said in ("a", " ", "b"):
        assert stream.on(chunk({"content": said}))[-1]["delta"]["text"] == said
    assert [e["type"] for e in stream.on(chunk(piece(0, "t", "f")))] == []
    assert stream.on(chunk(piece(0, arguments="{")))[-1]["delta"]["partial_json"] == "{"
    assert stream.on(chunk(piece(0, arguments=" ")))[-1]["delta"]["partial_json"] == " "
    stream.on(chunk(piece(0, arguments="}")))
    assert [e["type"] for e in stream.on(chunk({}, "tool_calls"))] == ["content_block_stop"]
    assert stream.on({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}) == []
    assert stream.on({"choices": [], "usage": {}}) == []
    delta, stop = stream.end()
    assert delta["usage"]["input_tokens"] == 5
    assert stop == {"type": "message_stop"}


@pytest.mark.parametrize(
    ("message", "reason", "choice", "stop"),
    [
        ({"content": "a"}, "stop", {}, ("end_turn", None)),
        ({"content": "a"}, None, {}, ("end_turn", None)),
        ({"content": "a"}, "new", {}, ("end_turn", None)),
        ({"content": "a"}, 7, {}, ("end_turn", None)),
        ({"content": "a"}, "length", {}, ("max_tokens", None)),
        ({"content": "a"}, "content_filter", {}, ("refusal", None)),
        ({"content": "a"}, "tool_calls", {}, ("end_turn", None)),
        ({"content": "a"}, "stop", {"stop_reason": "END"}, ("stop_sequence", "END")),
        ({"content": "a"}, "stop", {"stop_reason": "stop"}, ("end_turn", None)),
        ({"content": "a"}, "stop", {"stop_reason": 128001}, ("end_turn", None)),
        ({"content": None, "refusal": "No."}, "stop", {}, ("refusal", None)),
        ({"content": None, "refusal": "No"}, "length", {}, ("max_tokens", None)),
        (piece(None, "t", "f", "{}"), "stop", {}, ("tool_use", None)),
        (piece(None, "t", "f", "{}"), "length", {}, ("max_tokens", None)),
    ],
)
def test_why_an_answer_ended(message: Json, reason: Any, choice: Json, stop: tuple[str, str | None]):
    made = whole(message, reason, **choice)
    assert (made["stop_reason"], made["stop_sequence"]) == stop


def test_a_call_that_was_cut_off_is_left_out_of_a_whole_answer_only_where_its_length_was_the_reason():
    calls = piece(0, "a", "f", '{"x":1}')["tool_calls"] + piece(1, "b", "g", '{"x"')["tool_calls"]
    assert [block["id"] for block in whole({"tool_calls": calls}, "length")["content"]] == ["a"]
    with pytest.raises(Malformed):
        whole({"tool_calls": calls}, "tool_calls")
    started = piece(0, "b", "g")["tool_calls"]
    assert whole({"tool_calls": started}, "length")["content"] == []


def test_answers_without_names_are_given_some():
    made = answer({"choices": [{"message": {"content": "a"}}]}, asked())
    assert (made["id"], made["model"]) == ("msg_1700000000", "qwen3-8b")
    assert made["usage"] == {
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 0,
    }


# --- in the vendors' own types ---------------------------------------------------------------------------------------


def _golden(name: str) -> list[Any]:
    return [pytest.param(case / name, id=case.name) for case in CASES if (case / name).exists()]


@pytest.mark.parametrize("path", _golden("answer.client.json"))
def test_a_golden_answer_is_a_message_to_the_vendors_own_client(path: Any):
    value = orjson.loads(path.read_bytes())
    message = anthropic.types.Message.model_validate(value, strict=True)
    kept = {"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"}
    assert set(value) == kept
    assert not message.model_extra
    assert all(not block.model_extra for block in message.content)


@pytest.mark.parametrize("path", _golden("stream.client.sse"))
def test_a_golden_stream_adds_up_to_the_golden_answer(path: Any):
    raw = path.read_text().split("\n\n")[:-1]
    events = []
    for told in raw:
        name, data = told.split("\n")
        events.append(orjson.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    message = added_up(events)
    other = path.with_name("answer.client.json")
    if other.exists() and path.parent.name not in ("content_filter", "think_tags", "tool_call_cut_by_length"):
        known = anthropic.types.Message.model_validate_json(other.read_bytes())
        assert blocks(message) == blocks(known)
        assert (message.stop_reason, message.stop_sequence) == (known.stop_reason, known.stop_sequence)
        assert message.usage == known.usage


REQUEST: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
    chat_params.CompletionCreateParamsStreaming | chat_params.CompletionCreateParamsNonStreaming
)
#: What engines take beyond the vendor's own fields.
EXTENSIONS = {"top_k", "reasoning_content"}


def _read_all(value: Any) -> Any:
    """Iterables are judged only when they are read."""
    if isinstance(value, str | bytes | int | float | None):
        return value
    if isinstance(value, dict):
        return {key: _read_all(one) for key, one in value.items()}
    return [_read_all(one) for one in value]


def _lost(given: Any, kept: Any) -> Iterator[str]:
    """The fields that the type does not know."""
    if isinstance(given, dict):
        for key, value in given.items():
            if key not in kept:
                yield key
            else:
                yield from _lost(value, kept[key])
    elif isinstance(given, list):
        for one, other in zip(given, kept, strict=True):
            yield from _lost(one, other)


@pytest.mark.parametrize("path", _golden("sent.json"))
def test_a_golden_request_is_one_in_the_upstreams_own_types(path: Any):
    value = orjson.loads(path.read_bytes())
    if "refused" in value:
        return
    made = value["body"]
    kept = _read_all(REQUEST.validate_python(made))
    assert set(_lost(made, kept)) <= (set() if "openai.com" in str(about(path.parent)) else EXTENSIONS)


# --- whatever comes --------------------------------------------------------------------------------------------------

WORDS = st.text("ab \n", min_size=1, max_size=4)
ARGUMENTS = st.dictionaries(WORDS, st.integers() | WORDS, max_size=2).map(json.dumps)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[Json], list[tuple[Any, ...]]]:
    """Deltas, and what they say: joined text, joined reasoning, and calls."""
    deltas: list[Json] = []
    said: dict[str, str] = {"content": "", "reasoning_content": ""}
    calls: list[tuple[str, Any]] = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["content", "reasoning_content", "call"]))
        if kind != "call":
            words = draw(WORDS)
            said[kind] += words
            deltas.append({kind: words})
            continue
        name, arguments = draw(st.sampled_from(["f", "g"])), draw(ARGUMENTS | st.just(""))
        index = len(calls)
        calls.append((name, json.loads(arguments or "{}")))
        deltas.append(piece(index, f"t{index}", name))
        while arguments:
            cut = draw(st.integers(1, len(arguments)))
            deltas.append(piece(index, arguments=arguments[:cut]))
            arguments = arguments[cut:]
    return deltas, ["".join(said["content"].split()), "".join(said["reasoning_content"].split()), calls]


@settings(max_examples=600, deadline=None)
@given(answers())
def test_any_answer_is_told_whole_and_in_order(given_answer: tuple[list[Json], list[Any]]):
    deltas, (content, thought, calls) = given_answer
    message = added_up(streamed(*deltas))
    told = blocks(message)
    assert "".join("".join(b[1].split()) for b in told if b[0] == "text") == content
    assert "".join("".join(b[1].split()) for b in told if b[0] == "thinking") == thought
    assert [(b[2], b[3]) for b in told if b[0] == "tool_use"] == calls
    assert all(b[1].strip() for b in told if b[0] in ("text", "thinking"))
    assert message.stop_reason == ("tool_use" if calls else "end_turn")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(inner, (*path, key))


@st.composite
def damaged(draw: st.DrawFn, sound: list[Json]) -> Json:
    """One of these, with a value or two replaced by others, by some of its own, or left out."""
    value = copy.deepcopy(draw(st.sampled_from(sound)))
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(value))
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        holder = value
        for key in path:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "copy", "add", "remove"]))
        if how == "replace":
            holder[last] = draw(JSON)
        elif how == "remove":
            del holder[last]
        elif how == "copy":
            other: Any = value
            for key in draw(st.sampled_from(places)):
                other = other[key]
            holder[last] = copy.deepcopy(other)
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=4))] = draw(JSON)
        else:
            holder.append(draw(JSON))
    return value


REQUESTS = [orjson.loads((case / "request.json").read_bytes()) for case in CASES]
REQUESTS += [example[0] if isinstance(example, tuple) else example for example in EXAMPLES.values()]
ANSWERS = [orjson.loads(param.values[0].read_bytes()) for param in _golden("answer.upstream.json")]
EVENTS = [
    orjson.loads(line[6:])
    for param in _golden("stream.upstream.sse")
    for line in param.values[0].read_text().splitlines()
    if line.startswith("data: {")
]
FUZZ = settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FUZZ
@given(damaged(REQUESTS), st.sampled_from(UPSTREAMS))
def test_a_damaged_request_is_refused_or_carried(fields: Json, upstream: Upstream):
    before = copy.deepcopy(fields)
    names: list[str] = []
    try:
        made = request(fields, upstream, names)
    except Refusal as fault:
        fault.problem("up/m")
    else:
        orjson.dumps(made)
        assert set(names) <= set(MESSAGES_TO_CHAT)  # a name goes into a header, and none of the client's may
    assert fields == before


@FUZZ
@given(damaged(ANSWERS))
def test_a_damaged_answer_is_malformed_or_a_message(value: Json):
    before = copy.deepcopy(value)
    try:
        made = answer(value, asked())
    except Malformed:
        pass
    else:
        anthropic.types.Message.model_validate(made, strict=True)
    assert value == before


@FUZZ
@given(st.lists(damaged(EVENTS) | st.sampled_from(EVENTS), max_size=6))
def test_damaged_events_are_malformed_or_a_stream(events: list[Json]):
    before = copy.deepcopy(events)
    stream = Stream(asked())
    try:
        told = [out for event in events for out in stream.on(event)]
        if not told or told[0]["type"] != "message_start":
            return
        told += stream.end()
    except Malformed:
        pass
    else:
        for event in told:
            EVENT.validate_python(event, strict=True)
    assert events == before
