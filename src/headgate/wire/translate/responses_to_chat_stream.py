"""The stream of an upstream that speaks chat, as a responses client reads it.

Chat streams one message, whose text, refusal, reasoning and calls each grow. Responses streams items, one after the
other: each is announced, grows, and is told whole once it is done; the last event tells the whole response. So at most
one item is open here, and it is closed when something comes that belongs to another:

    reasoning   one item for each thing that a vendor signed or encrypted, and one for reasoning that nobody did
    message     text and refusal are parts of it
    call        announced when its name is known; what belongs to a call that is closed already cannot be told any more

The usage comes after the finish reason, so the last event waits for the stream's end.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any, Final

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.namespaces import offered
from headgate.wire.translate.reasoning import ANTHROPIC, OPENAI, ThinkTags, seal
from headgate.wire.translate.responses_to_chat_items import CALL_ID_PREFIX, Call, Message, Reasoning, Writer
from headgate.wire.translate.shape import Malformed
from headgate.wire.translate.tool_ids import made_up
from headgate.wire.usage import Usage, from_openai, to_responses

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
        self._usage: Usage | None = None
        self._finish = ""
        self._tags: ThinkTags | None = ThinkTags()
        self._blank: list[str] = []  # white space that would begin a message
        self._logprobs: list[Json] = []  # of text that is held back
        self._open: Reasoning | Message | Call | None = None
        self._output: list[Json] = []
        self._thought_ids: set[str] = set()
        self._closed_ids: set[str] = set()  # of calls, as the upstream says them
        self._closed_indexes: set[Any] = set()
        self._calls = 0
        self._offered = offered(asked.fields.get("tools"))

    def on(self, event: Json) -> list[Json]:
        out = self._writer.out = []
        if event.get("usage") is not None:
            self._usage = from_openai(event["usage"]) or self._usage
        choices = event.get("choices")
        if not choices:  # of its usage, or of what the vendor's filter said: nothing of the answer
            return out
        if not self._response:
            self._begin(event)
        if not isinstance(choices, list):
            raise Malformed("sent a chunk whose 'choices' is not a list")
        for choice in choices:
            self._choice(choice)
        return out

    def end(self) -> list[Json]:
        out = self._writer.out = []
        if not self._response:
            self._begin({})
        self._close()
        reason = _INCOMPLETE.get(self._finish)
        status = "completed" if reason is None else "incomplete"
        response = self._state(status, self._output)
        response["usage"] = to_responses(self._usage or Usage())
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

    def _choice(self, choice: Any) -> None:
        if not isinstance(choice, dict) or choice.get("index", 0) != 0:
            raise Malformed("sent a choice that nobody asked for")
        delta, finish = choice.get("delta"), choice.get("finish_reason")
        if finish and isinstance(finish, str):
            self._finish = finish
        if delta is not None:
            if not isinstance(delta, dict):
                raise Malformed("sent a delta that is not an object")
            self._delta(delta, choice)
        if finish:
            self._close()

    def _delta(self, delta: Json, choice: Json) -> None:
        get = delta.get
        if get("reasoning_content") or get("reasoning") or get("reasoning_details"):
            self._reason(delta)
        content = get("content")
        if content:
            if not isinstance(content, str):
                raise Malformed("sent content that is not text")
            if self._wants_logprobs:
                self._logprobs += _logprobs(choice.get("logprobs"))
            self._say(content)
        refusal = get("refusal")
        if refusal:
            if not isinstance(refusal, str):
                raise Malformed("sent a refusal that is not text")
            self._flush()
            self._message().refusal(refusal)
        if get("annotations"):
            self._annotate(delta["annotations"])
        calls = get("tool_calls")
        if calls:
            if not isinstance(calls, list):
                raise Malformed("sent tool calls that are not a list")
            self._flush()
            for call in calls:
                self._call(call)

    # --- reasoning

    def _reason(self, delta: Json) -> None:
        details = delta.get("reasoning_details")
        entries = [entry for entry in details if _is_known(entry)] if isinstance(details, list) else []
        text = delta.get("reasoning_content") or delta.get("reasoning")
        if any(_text_of(entry) for entry in entries):
            text = None  # it says the same
        elif not entries and not isinstance(text, str):
            return
        self._flush()
        if isinstance(text, str) and text:
            first = entries[0] if entries else {}
            self._thought(first.get("index"), first.get("id"), more=True).text(text)
        for entry in entries:
            self._entry(entry)

    def _entry(self, entry: Json) -> None:
        text, opaque = _text_of(entry), None
        if entry["type"] == "reasoning.encrypted":
            data = entry.get("data")
            if isinstance(data, str) and data:
                opaque = data if entry["format"] == OPENAI else seal({"format": ANTHROPIC, "data": data})
        elif isinstance(entry.get("signature"), str) and entry["signature"]:
            opaque = seal({"format": ANTHROPIC, "signature": entry["signature"]})
        if not text and opaque is None:
            return
        more = bool(text) or entry["type"] == "reasoning.encrypted"
        thought = self._thought(entry.get("index"), entry.get("id"), more=more)
        if text:
            thought.text(text)
        if opaque is not None:
            thought.opaque = opaque

    def _thought(self, index: Any, item_id: Any, *, more: bool) -> Reasoning:
        """The item that this belongs to. more: whether it goes on, which nothing does that is signed already."""
        thought, self._blank = self._open, []
        if isinstance(thought, Reasoning):
            same = index is None or thought.index is None or thought.index == index
            if same and not (more and thought.opaque is not None):
                if thought.index is None:
                    thought.index = index
                return thought
        self._close_item()
        if not isinstance(item_id, str) or not item_id or item_id in self._thought_ids:
            item_id = self._item_id("rs")
        self._thought_ids.add(item_id)
        thought = self._open = Reasoning(self._writer, len(self._output), item_id, index)
        return thought

    # --- the message

    def _say(self, content: str) -> None:
        if self._tags is not None:
            thought, content = self._tags.feed(content)
            self._thought_aloud(thought, content)
        self._text(content)

    def _flush(self) -> None:
        """What the tags hold back, when something else comes; after that a tag is a word like others."""
        if self._tags is not None:
            thought, content = self._tags.finish()
            self._tags = None
            self._thought_aloud(thought, content)
            self._text(content)

    def _thought_aloud(self, thought: str, content: str) -> None:
        if thought:
            self._thought(None, None, more=True).text(thought)
            self._logprobs = self._logprobs if content else []

    def _text(self, content: str, *, last: bool = False) -> None:
        """Models write empty lines around their calls: a message begins with the first word. last: if there is none,
        the white space is all that was said."""
        if not content:
            return
        if not isinstance(self._open, Message) and not last:
            if content.isspace():
                self._blank.append(content)
                return
            content = "".join([*self._blank, content])
        logprobs, self._logprobs = self._logprobs, []
        self._message().text(content, logprobs)

    def _message(self) -> Message:
        message = self._open
        if not isinstance(message, Message):
            self._close_item()
            self._blank = []
            message = self._open = Message(self._writer, len(self._output), self._item_id("msg"))
        return message

    def _annotate(self, annotations: Any) -> None:
        if isinstance(self._open, Message) and isinstance(annotations, list):
            for annotation in annotations:
                citation = _citation(annotation)
                if citation is not None:
                    self._open.annotation(citation)

    # --- calls

    def _call(self, piece: Any) -> None:
        if not isinstance(piece, dict):
            raise Malformed("sent a tool call that is not an object")
        custom = piece.get("type") == "custom" or isinstance(piece.get("custom"), dict)
        said = piece.get("custom" if custom else "function")
        if said is None:
            said = {}
        elif not isinstance(said, dict):
            raise Malformed("sent a tool call without a function")
        name, more = said.get("name"), said.get("input" if custom else "arguments")
        if not isinstance(more, str | None):
            raise Malformed("sent a tool call whose arguments are not a string")
        name = name if isinstance(name, str) else ""
        call = self._call_of(piece, name, "custom_tool_call" if custom else "function_call")
        if more:
            call.piece(more)
        if name and not call.name:
            call_id = call.given_id
            if not call_id or call_id in self._closed_ids:
                call_id = made_up(self._response["id"], self._calls)
            prefix = CALL_ID_PREFIX[call.kind]
            namespace, own = self._offered.get(name) or ("", name)
            call.announce(len(self._output), self._item_id(prefix), call_id, own, namespace)

    def _call_of(self, piece: Json, name: str, kind: str) -> Call:
        """The call that a piece belongs to.

        1. The call that is open, where the piece says its index, or no index and its id, or neither. With another id
           and a name it begins a new one all the same, since some upstreams number every call 0.
        2. None that could still be told, where its index or id is that of a call which is closed.
        3. A new one.
        """
        index, given = piece.get("index"), piece.get("id")
        given = given if isinstance(given, str) else ""
        if isinstance(index, bool) or not isinstance(index, int | None):
            raise Malformed("sent a tool call whose index is not a number")
        call, self._blank = self._open, []
        if isinstance(call, Call):  # 1
            other = bool(given and call.given_id and given != call.given_id)
            if index is None:
                begins = other or bool(name and call.name and not given)
            else:
                begins = index != call.index or (other and bool(name))
            if not begins:
                call.given_id = call.given_id or given
                return call
        self._close_item()
        if index is not None:  # 2
            late = index in self._closed_indexes and (not given or not name or given in self._closed_ids)
        else:
            late = given in self._closed_ids if given else not name
        if late:
            raise Malformed("sent pieces of two tool calls at once")
        call = self._open = Call(self._writer, index, given, kind)  # 3
        self._calls += 1
        return call

    # --- the ends of items

    def _item_id(self, prefix: str) -> str:
        return f"{prefix}_{self._suffix}_{len(self._output)}"

    def _close(self) -> None:
        self._flush()
        if self._open is None and not self._output:
            self._text("".join(self._blank), last=True)
        self._close_item(_INCOMPLETE.get(self._finish) is not None)

    def _close_item(self, last: bool = False) -> None:
        """last: nothing comes after it in an answer that was cut."""
        item, self._open = self._open, None
        if item is None:
            return
        if isinstance(item, Reasoning):
            self._output.append(item.close(self._wants_encrypted))
        elif isinstance(item, Message):
            self._output.append(item.close("incomplete" if last else "completed"))
        else:
            if item.given_id:
                self._closed_ids.add(item.given_id)
            self._closed_indexes.add(item.index)
            done = item.close(self._finish == "length", self._whole)
            if done is not None:
                self._output.append(done)


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
    made_of = f"{given}\0{asked.upstream.model}\0{event.get('created')}\0{asked.now_s}"
    return blake2b(made_of.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


# --- the upstream's words


def _is_known(entry: Any) -> bool:
    """Whether it is one whose form headgate knows; what others mean, only their vendors know."""
    return (
        isinstance(entry, dict)
        and entry.get("format") in (ANTHROPIC, OPENAI)
        and entry.get("type") in ("reasoning.text", "reasoning.summary", "reasoning.encrypted")
    )


def _text_of(entry: Json) -> str:
    text = entry.get("summary" if entry["type"] == "reasoning.summary" else "text")
    return text if isinstance(text, str) else ""


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
