"""Each dialect as a test needs it: how to ask, what the scripted upstream answers, and how the answer is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.raw import Response, post
from headgate.testing import Answer, Stream, Turn, Usage
from headgate.testing import vendor_anthropic as anthropic
from headgate.testing import vendor_openai as openai
from headgate.testing import vendor_responses as responses

Json = dict[str, Any]

TEXT = "One two three four."
USER = [{"role": "user", "content": "How high is the water?"}]
USAGE = Usage(input=31, output=17, cached=5)


@dataclass(frozen=True, slots=True)
class Speech:
    """name: the dialect's. fields: of the least request. answer, stream: what an upstream says, with `TEXT` in it and
    usage `USAGE`. said: the text of a whole answer. heard: the text in one event of a stream. error_event: the
    upstream's own. first_content: the number of the first event that is content."""

    name: str
    path: str
    fields: Json
    answer: Callable[[], Answer]
    stream: Callable[[], Stream]
    said: Callable[[Json], str]
    heard: Callable[[Json], str]
    error_event: Callable[[], bytes]
    first_content: int

    def __str__(self) -> str:
        return self.name

    def request(self, *headers: str, stream: bool = False, **changes: Any) -> bytes:
        return post(self.path, {**self.fields, **({"stream": True} if stream else {}), **changes}, *headers)

    def text_of(self, response: Response) -> str:
        """The text of an answer, streamed or not."""
        if response.header("content-type") == "application/json":
            return self.said(response.json())
        return "".join(map(self.heard, payloads(response)))

    def ended(self, response: Response) -> bool:
        """Whether the stream came to this dialect's proper end."""
        last = response.events[-1] if response.events else b""
        if self.name == "anthropic.messages":
            return last.startswith(b"event: message_stop")
        if self.name == "openai.responses":
            return last.startswith((b"event: response.completed", b"event: response.incomplete"))
        return last == b"data: [DONE]"

    def error_of(self, body: Json) -> Json:
        """The error object of a body in this dialect, or a failure where it is none."""
        if self.name == "anthropic.messages":
            assert body["type"] == "error" and set(body) <= {"type", "error", "request_id"}, body
            error = body["error"]
            assert set(error) == {"type", "message", "source"}, error
        elif self.name == "openai.responses" and body.get("type") == "error":
            error = body["error"]
            assert isinstance(body["sequence_number"], int) and body["message"] == error["message"], body
        else:
            assert set(body) == {"error"}, body
            error = body["error"]
            assert set(error) == {"message", "type", "param", "code", "source"}, error
        assert isinstance(error["type"], str) and error["type"]
        assert isinstance(error["message"], str) and error["message"]
        assert isinstance(error["source"], str) and error["source"]
        return error

    def error_event_of(self, response: Response) -> Json:
        """The error in the last event of a stream, which must be one."""
        *_, last = response.events
        if self.name in ("anthropic.messages", "openai.responses"):
            assert last.startswith(b"event: error\n"), last
        return self.error_of(payload(last))


def payload(event: bytes) -> Json:
    [data] = [line.removeprefix(b"data: ") for line in event.split(b"\n") if line.startswith(b"data: ")]
    return json.loads(data)


def payloads(response: Response) -> list[Json]:
    """The JSON objects of a stream's events; comments and `[DONE]` left out."""
    named = [event for event in response.events if b"data: " in event and event != b"data: [DONE]"]
    return [payload(event) for event in named]


def _of_chat(chunk: Json) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices") or [])


def _of_completion(chunk: Json) -> str:
    return "".join(choice["text"] for choice in chunk.get("choices") or [])


CHAT = Speech(
    "openai.chat",
    "/v1/chat/completions",
    {"model": "m", "messages": USER},
    lambda: openai.chat_answer(Turn(TEXT), usage=USAGE),
    lambda: openai.chat_stream(Turn(TEXT), usage=USAGE),
    lambda body: body["choices"][0]["message"]["content"],
    _of_chat,
    openai.error_event,
    first_content=1,
)
COMPLETIONS = Speech(
    "openai.completions",
    "/v1/completions",
    {"model": "m", "prompt": "How high?"},
    lambda: openai.completions_answer(TEXT, usage=USAGE),
    lambda: openai.completions_stream(TEXT, usage=USAGE),
    lambda body: body["choices"][0]["text"],
    _of_completion,
    openai.error_event,
    first_content=0,
)
RESPONSES = Speech(
    "openai.responses",
    "/v1/responses",
    {"model": "m", "input": "How high?"},
    lambda: responses.responses_answer(Turn(TEXT), usage=USAGE),
    lambda: responses.responses_stream(Turn(TEXT), usage=USAGE),
    lambda body: body["output"][0]["content"][0]["text"],
    lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
    lambda: responses.error_event(7),
    first_content=4,
)
MESSAGES = Speech(
    "anthropic.messages",
    "/v1/messages",
    {"model": "m", "messages": USER, "max_tokens": 99},
    lambda: anthropic.messages_answer(Turn(TEXT), usage=USAGE),
    lambda: anthropic.messages_stream(Turn(TEXT), usage=USAGE),
    lambda body: body["content"][0]["text"],
    lambda event: event.get("delta", {}).get("text", ""),
    anthropic.error_event,
    first_content=3,
)
EMBEDDINGS_PATH = "/v1/embeddings"
COUNT_PATH = "/v1/messages/count_tokens"
ALL = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)
