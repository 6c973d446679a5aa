"""The stream of an upstream that speaks chat, as a responses client reads it.

Chat streams one message, which `chat_stream.py` reads. Responses streams items, one after the other: each is announced,
grows, and is told whole once it is done; the last event tells the whole response. So at most one item is open here,
and it is closed when something comes that belongs to another. Text and refusal are parts of one item.

The usage comes after the finish reason, so the last event waits for the stream's end.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any, Final

from headgate.wire.translate import chat_stream
from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_stream import ChatStream, Cited, Part, Refused, Text
from headgate.wire.translate.namespaces import offered
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, seal
from headgate.wire.translate.responses_to_chat_items import CALL_ID_PREFIX, Call, Message, Reasoning, Writer
from headgate.wire.translate.shape import Malformed
from headgate.wire.translate.tool_calls import CallArguments, CallBegun, CallEnded
from headgate.wire.translate.tool_ids import made_up
from headgate.wire.usage import Usage, to_responses

Json = dict[str, Any]

#: What `include` may name.
ENCRYPTED_REASONING: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_TIERS: Final = ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
_RETENTIONS: Final = ("in_memory", "24h")


class Stream:
    """whole: the one chunk that comes is a whole answer."""

    def __init__(self, asked: Asked, *, whole: bool = False) -> None:
        include = asked.fields.get("include") or ()
        self._asked = asked
        self._whole = whole
        self._wants_encrypted = ENCRYPTED_REASONING in include
        self._wants_logprobs = asked.sent.get("logprobs") is True
        self._writer = Writer()
        self._response: Json = {}  # what is the same in all its states; empty before the first chunk
        self._suffix = ""  # of the ids of items
        self._chat = ChatStream()
        self._finish = ""
        self._open: Reasoning | Message | Call | None = None
        self._output: list[Json] = []
        self._thought_ids: set[str] = set()
        self._calls = 0
        self._offered = offered(asked.fields.get("tools"))

    def on(self, event: Json) -> list[Json]:
        out = self._writer.out = []
        parts = self._chat.on(event)
        if not self._response and event.get("choices"):
            self._begin(event)
        for part in parts:
            self._write(part)
        return out

    def end(self) -> list[Json]:
        out = self._writer.out = []
        self._chat.end()
        reason = _INCOMPLETE.get(self._finish)
        status = "completed" if reason is None else "incomplete"
        response = self._state(status, self._output)
        response["usage"] = to_responses(self._chat.usage or Usage())
        if reason is not None:
            response["incomplete_details"] = {"reason": reason}
        self._writer.write(f"response.{status}", response=response)
        return out

    def _begin(self, event: Json) -> None:
        self._suffix = _suffix(event, self._asked)
        self._response = _response(event, self._asked, "resp_" + self._suffix)
        self._writer.write("response.created", response=self._state("in_progress", []))
        self._writer.write("response.in_progress", response=self._state("in_progress", []))

    def _state(self, status: str, output: list[Json]) -> Json:
        return {**self._response, "status": status, "output": output}

    def _write(self, part: Part) -> None:
        if isinstance(part, Text):
            logprobs = [one for said in part.logprobs for one in _logprobs(said)] if self._wants_logprobs else []
            self._message().text(part.text, logprobs)
        elif isinstance(part, CallArguments):
            if isinstance(self._open, Call):
                self._open.piece(part.text)
        elif isinstance(part, chat_stream.Reasoning):
            self._think(part)
        elif isinstance(part, Refused):
            self._message().refusal(part.text)
        elif isinstance(part, CallBegun):
            self._begin_call(part)
        elif isinstance(part, CallEnded):
            self._end_call(part)
        elif isinstance(part, Cited):
            self._annotate(part.annotations)
        else:
            self._finish = part.reason
            self._close(last=self._finish in _INCOMPLETE)

    def _think(self, part: chat_stream.Reasoning) -> None:
        thought = self._open
        if part.begins or not isinstance(thought, Reasoning):
            self._close()
            item_id = part.id
            if not item_id or item_id in self._thought_ids:
                item_id = self._item_id("rs")
            self._thought_ids.add(item_id)
            thought = self._open = Reasoning(self._writer, len(self._output), item_id)
        if part.text:
            thought.text(part.text)
        if part.encrypted:
            mine = part.vendor == OPENAI
            thought.opaque = part.encrypted if mine else seal({"format": ANTHROPIC, "data": part.encrypted})
        elif part.signature:
            thought.opaque = seal({"format": ANTHROPIC, "signature": part.signature})

    def _message(self) -> Message:
        message = self._open
        if not isinstance(message, Message):
            self._close()
            message = self._open = Message(self._writer, len(self._output), self._item_id("msg"))
        return message

    def _annotate(self, annotations: list[Any]) -> None:
        if isinstance(self._open, Message):
            for annotation in annotations:
                citation = _citation(annotation)
                if citation is not None:
                    self._open.annotation(citation)

    def _begin_call(self, part: CallBegun) -> None:
        self._close()
        self._calls += 1
        kind = "custom_tool_call" if part.custom else "function_call"
        call_id = part.id or made_up(self._response["id"], self._calls)
        namespace, name = self._offered.get(part.name) or ("", part.name)
        item_id = self._item_id(CALL_ID_PREFIX[kind])
        self._open = Call(self._writer, len(self._output), item_id, kind, call_id, name, namespace)

    def _end_call(self, part: CallEnded) -> None:
        call, self._open = self._open, None
        if isinstance(call, Call):
            item = call.close(part.broken)
            if not (part.broken and self._whole):  # a whole answer leaves out what was cut
                self._output.append(item)

    def _item_id(self, prefix: str) -> str:
        return f"{prefix}_{self._suffix}_{len(self._output)}"

    def _close(self, *, last: bool = False) -> None:
        """last: nothing comes after it in an answer that was cut."""
        item, self._open = self._open, None
        if isinstance(item, Reasoning):
            self._output.append(item.close(self._wants_encrypted))
        elif isinstance(item, Message):
            self._output.append(item.close("incomplete" if last else "completed"))


# --- the response object


def _response(event: Json, asked: Asked, response_id: str) -> Json:
    """What every state of the response says: who it is, and what was asked for, with the vendor's defaults."""
    get = asked.fields.get
    created, model, tier = event.get("created"), event.get("model"), event.get("service_tier")
    text, reasoning = get("text") or {}, get("reasoning") or {}
    dated = isinstance(created, int) and not isinstance(created, bool) and created > 0
    retention = get("prompt_cache_retention")
    return {
        "id": response_id,
        "object": "response",
        "created_at": created if dated else asked.now_s,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": get("instructions"),
        "max_output_tokens": get("max_output_tokens"),
        "model": model if isinstance(model, str) and model else asked.upstream.model,
        "output": [],
        "parallel_tool_calls": get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "prompt_cache_key": get("prompt_cache_key"),
        "prompt_cache_retention": retention if retention in _RETENTIONS else None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "safety_identifier": get("safety_identifier"),
        "service_tier": tier if tier in _TIERS else "default",
        "store": False,
        "temperature": 1.0 if get("temperature") is None else get("temperature"),
        "text": {"format": text.get("format") or {"type": "text"}, "verbosity": text.get("verbosity") or "medium"},
        "tool_choice": get("tool_choice") or "auto",
        "tools": [_told(tool) for tool in get("tools") or ()],
        "top_logprobs": get("top_logprobs") or 0,
        "top_p": 1.0 if get("top_p") is None else get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": get("user"),
        "metadata": get("metadata") or {},
    }


def _told(tool: Json) -> Json:
    """A tool of the request, as the response says it again."""
    told = {field: tool.get(field) for field in _TOLD[tool["type"]]}
    if tool["type"] == "namespace":
        told["tools"] = [_told(function) for function in tool.get("tools") or ()]
    return told


_TOLD: Final = {
    "function": ("type", "name", "description", "parameters", "strict"),
    "custom": ("type", "name", "description", "format"),
    "namespace": ("type", "name", "description"),
}
_PREFIX: Final = re.compile(r"\A(?:(?:chatcmpl|resp|msg|gen)[-_])+")
_SUFFIX: Final = re.compile(r"[A-Za-z0-9_-]{16,48}\Z")


def _suffix(event: Json, asked: Asked) -> str:
    """What all ids of one response end in. OpenAI takes items back whose ids have 64 characters at most, and no id
    twice in a conversation; some servers number their answers with three digits."""
    given = event.get("id")
    given = given if isinstance(given, str) else ""
    suffix = _PREFIX.sub("", given, count=1)
    if _SUFFIX.match(suffix):
        return suffix
    created = event.get("created")
    dated = created if isinstance(created, int) else ""  # not what is nested, and too deep to be written out
    made_of = f"{given}\0{asked.upstream.model}\0{dated}\0{asked.now_s}"
    return blake2b(made_of.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


# --- the upstream's words


def _citation(annotation: Any) -> Json | None:
    """A citation of a page, in the form of responses; None for anything else."""
    found = annotation.get("url_citation") if isinstance(annotation, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("url"), str):
        return None
    start, end, title = found.get("start_index"), found.get("end_index"), found.get("title")
    return {
        "type": "url_citation",
        "url": found["url"],
        "title": title if isinstance(title, str) else "",
        "start_index": start if isinstance(start, int) and not isinstance(start, bool) else 0,
        "end_index": end if isinstance(end, int) and not isinstance(end, bool) else 0,
    }


def _logprobs(value: Any) -> list[Json]:
    content = value.get("content") if isinstance(value, dict) else None
    if content is None:
        return []
    if not isinstance(content, list):
        raise Malformed("sent log probabilities that are not a list")
    told = []
    for entry in content:
        most = entry.get("top_logprobs") if isinstance(entry, dict) else None
        if not isinstance(most, list | None):
            raise Malformed("sent log probabilities that are not a list")
        told.append({**_logprob(entry), "top_logprobs": [_logprob(one) for one in most or ()]})
    return told


def _logprob(entry: Any) -> Json:
    token, logprob = (entry.get("token"), entry.get("logprob")) if isinstance(entry, dict) else (None, None)
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        raise Malformed("sent a log probability without its token")
    encoded = entry.get("bytes")
    if not isinstance(encoded, list) or not all(type(byte) is int for byte in encoded):
        encoded = list(token.encode("utf-8", "surrogatepass"))
    return {"token": token, "bytes": encoded, "logprob": logprob}
