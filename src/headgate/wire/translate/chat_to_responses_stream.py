"""The way back of `chat_to_responses.py`: a response as a chat completion, whole or as a stream of chunks.

A response is a list of items that are added, filled by deltas, and done; a chunk just adds to the one message. Servers
differ in how much they say. OpenAI names the item in every delta and repeats its whole content when it is done, others
leave out ids, places, deltas, or the events of whole items. So:

1. A delta belongs to the item with its id; else the one at its place; else the last of its type, unless that is done or
   has another id or place; else to one that begins with it.
2. What an item holds when it is done is sent only where none of its deltas was.
3. The same goes for the items of `response.completed`: each is the one with its id or at its place, if that has its
   type, and else the next of its type, since some servers number them anew there, and what was sent twice cannot be
   taken back. Deltas that named no item may have been of any number of them, and count for all of their type.

Items of tools that the vendor's servers run are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.chat_chunks import Chunks, completion, detail
from headgate.wire.translate.reasoning import OPENAI
from headgate.wire.translate.shape import Malformed
from headgate.wire.usage import Usage, from_responses

Json = dict[str, Any]

_MESSAGE: Final = "message"
_REASONING: Final = "reasoning"
_FUNCTION: Final = "function_call"
_CUSTOM: Final = "custom_tool_call"

_LATEST_S = 2**53


class _Item:
    """place: in the response's output. known: whether the server said where it begins. index: among the calls, or among
    the thoughts, of the chat message; -1 until the client has been told of it. sent: whether any of its content was.
    held: arguments that came before the tool's name, or are blank so far. form, part: where the last piece of reasoning
    was written."""

    __slots__ = ("done", "form", "held", "id", "index", "kind", "known", "part", "place", "sent")

    def __init__(self, kind: str, item_id: str, place: int | None) -> None:
        self.kind = kind
        self.id = item_id
        self.place = place
        self.known = True
        self.index = -1
        self.sent = False
        self.done = False
        self.held: list[str] = []
        self.form = ""
        self.part: Any = None


class Stream:
    _chunks: Chunks  # once it has begun

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._logprobs = asked.fields.get("logprobs") is True
        self._begun = False
        self._by_id: dict[str, _Item] = {}
        self._by_place: dict[int, _Item] = {}
        self._items: dict[str, list[_Item]] = {_MESSAGE: [], _REASONING: [], _FUNCTION: [], _CUSTOM: []}
        self.usage: Usage | None = None
        self._moderation: Json | None = None

    def on(self, event: Json) -> list[Json]:
        kind = event.get("type")
        if not isinstance(kind, str):
            raise Malformed("sent an event without a type")
        handler = _HANDLERS.get(kind)
        if handler is None:
            return []
        if self._begun:
            return handler(self, event)
        self._begun = True
        self._chunks = _chunks(event, self._asked)
        return [self._chunks.delta({"role": "assistant", "content": ""}), *handler(self, event)]

    def end(self) -> list[Json]:
        if not self._begun or not self._chunks.finished:
            raise Malformed("ended its stream without a stop reason")
        ends = self._chunks.usage(self.usage)
        if self._moderation is not None:
            ends.insert(0, {**self._chunks.head, "choices": [], "moderation": self._moderation})
        return ends

    # Which item is meant.

    def _item(self, event: Json, kind: str) -> _Item:
        item_id, place = event.get("item_id"), event.get("output_index")
        item = self._by_id.get(item_id) if isinstance(item_id, str) else None
        if item is not None and item.kind == kind:
            return item
        item = self._by_place.get(place) if isinstance(place, int) else None
        if item is not None and item.kind == kind:
            return item
        if self._items[kind]:
            last = self._items[kind][-1]
            other = (item_id and last.id) or (place is not None and last.place is not None)
            if not last.done and not other:
                return last
        item = self._new(kind, item_id, place)
        item.known = item.id != "" or item.place is not None
        return item

    def _new(self, kind: str, item_id: Any, place: Any) -> _Item:
        item = _Item(kind, item_id if isinstance(item_id, str) else "", place if isinstance(place, int) else None)
        self._items[kind].append(item)
        if item.id:
            self._by_id[item.id] = item
        if item.place is not None:
            self._by_place[item.place] = item
        return item

    def _matched(self, output: Any) -> list[tuple[_Item, Json]]:
        """The items of `response.completed`, each with what was said of it before."""
        matched: dict[int, _Item] = {}
        raws: dict[int, Json] = {}
        for place, raw in enumerate(_objects(output, "a response")):
            kind, item_id = raw.get("type"), raw.get("id")
            if not isinstance(kind, str) or kind not in self._items:
                continue
            raws[place] = raw
            item = self._by_id.get(item_id) if isinstance(item_id, str) else None
            item = item or self._by_place.get(place)
            if item is not None and item.kind == kind:
                matched[place] = item
        taken = set(map(id, matched.values()))
        rest = {kind: iter([item for item in told if id(item) not in taken]) for kind, told in self._items.items()}
        for place, raw in raws.items():
            if place not in matched:
                matched[place] = next(rest[raw["type"]], None) or self._late(raw["type"])
        return [(matched[place], raw) for place, raw in raws.items()]

    def _late(self, kind: str) -> _Item:
        """An item of which there was no event of its own."""
        told = self._items[kind]
        sent = bool(told) and told[-1].sent and not told[-1].known
        item = self._new(kind, None, None)
        item.sent, item.known = sent, not sent
        return item

    # Events.

    def _nothing(self, event: Json) -> list[Json]:
        return []

    def _added(self, event: Json) -> list[Json]:
        raw = _object(event.get("item"), "an output item")
        kind = raw.get("type")
        if not isinstance(kind, str) or kind not in self._items:
            return []
        item = self._new(kind, raw.get("id"), event.get("output_index"))
        return self._called(item, raw) if kind in (_FUNCTION, _CUSTOM) and _name(raw) else []

    def _text(self, event: Json) -> list[Json]:
        piece = _piece(event)
        if not piece:
            return []
        self._item(event, _MESSAGE).sent = True
        return [self._said(piece, event.get("logprobs"))]

    def _refusal(self, event: Json) -> list[Json]:
        piece = _piece(event)
        if not piece:
            return []
        self._item(event, _MESSAGE).sent = True
        return [self._chunks.delta({"refusal": piece})]

    def _summary(self, event: Json) -> list[Json]:
        return self._thought(self._item(event, _REASONING), "summary", event.get("summary_index"), _piece(event))

    def _raw_thought(self, event: Json) -> list[Json]:
        return self._thought(self._item(event, _REASONING), "text", event.get("content_index"), _piece(event))

    def _arguments(self, event: Json) -> list[Json]:
        return self._argued(self._item(event, _FUNCTION), _piece(event))

    def _custom_input(self, event: Json) -> list[Json]:
        return self._argued(self._item(event, _CUSTOM), _piece(event))

    def _item_done(self, event: Json) -> list[Json]:
        raw = _object(event.get("item"), "an output item")
        kind = raw.get("type")
        if not isinstance(kind, str) or kind not in self._items:
            return []
        where = {"item_id": raw.get("id"), "output_index": event.get("output_index")}
        return self._done(self._item(where, kind), raw)

    def _completed(self, event: Json) -> list[Json]:
        response = _object(event.get("response"), "a response")
        tier = response.get("service_tier")
        if isinstance(tier, str):  # the one that was used, which the first event could not know
            self._chunks.head["service_tier"] = tier
        chunks: list[Json] = []
        for item, raw in self._matched(response.get("output")):
            chunks += self._done(item, raw)
        for item in self._items[_FUNCTION] + self._items[_CUSTOM]:
            chunks += self._done(item, {})
        self.usage = from_responses(response.get("usage"))
        if self._asked.fields.get("moderation") is not None and isinstance(response.get("moderation"), dict):
            self._moderation = _moderated(response["moderation"])
        cut = response.get("status") == "incomplete" or event.get("type") == "response.incomplete"
        reason = _cut_by(response) if cut else None
        chunks.append(self._chunks.delta({}, reason or ("tool_calls" if self._chunks.calls else "stop")))
        return chunks

    # What they hold.

    def _said(self, text: str, logprobs: Any) -> Json:
        told = _logprobs(logprobs) if self._logprobs and logprobs else None
        return self._chunks.delta({"content": text}, logprobs=told)

    def _thought(self, item: _Item, form: str, part: Any, text: str) -> list[Json]:
        """form: the name of the field, which is also the end of the type's."""
        if not text:
            return []
        item.sent = True
        entry = self._entry(item, form)
        entry[form] = f"\n\n{text}" if item.form == form and item.part != part else text
        item.form, item.part = form, part
        return [self._chunks.thought((item, form, part), text, entry)]

    def _entry(self, item: _Item, form: str) -> Json:
        if item.index < 0:
            item.index = self._chunks.thoughts
            self._chunks.thoughts += 1
        return detail(form, OPENAI, item.index, item.id)

    def _called(self, item: _Item, raw: Json, arguments: str = "") -> list[Json]:
        """The first that the client reads of a call."""
        item.index = self._chunks.calls
        return [self._chunks.call(raw.get("call_id"), _name(raw), arguments, custom=item.kind == _CUSTOM)]

    def _argued(self, item: _Item, piece: str) -> list[Json]:
        if not piece:
            return []
        if item.index < 0 or (item.kind == _FUNCTION and not item.sent and piece.isspace()):
            item.held.append(piece)
            return []
        if item.held:
            piece, item.held = "".join([*item.held, piece]), []
        item.sent = True
        return [self._chunks.argument(item.index, piece, custom=item.kind == _CUSTOM)]

    def _done(self, item: _Item, raw: Json) -> list[Json]:
        """What of a whole item the client has not yet read."""
        if item.done:
            return []
        item.done = True
        if item.kind == _MESSAGE:
            return [] if item.sent else self._message(raw)
        if item.kind == _REASONING:
            return self._reasoned(item, raw)
        whole = raw.get("input" if item.kind == _CUSTOM else "arguments")
        if not isinstance(whole, str | None):
            raise Malformed("sent a tool call whose arguments are not a string")
        whole, item.held = whole or "".join(item.held), []
        if item.kind == _FUNCTION and not whole.strip():
            whole = "{}"
        if item.index >= 0:
            return [] if item.sent else self._argued(item, whole)
        if not _name(raw):
            raise Malformed("sent a tool call without a name")
        return self._called(item, raw, whole)

    def _message(self, raw: Json) -> list[Json]:
        chunks = []
        for part in _objects(raw.get("content"), "a message"):
            kind = part.get("type")
            if kind not in ("output_text", "refusal"):
                continue
            text = part.get("text" if kind == "output_text" else "refusal")
            if not isinstance(text, str):
                raise Malformed("sent a part of a message without its text")
            if text:
                said = kind == "output_text"
                chunks.append(self._said(text, part.get("logprobs")) if said else self._chunks.delta({"refusal": text}))
        return chunks

    def _reasoned(self, item: _Item, raw: Json) -> list[Json]:
        chunks: list[Json] = []
        if isinstance(raw.get("id"), str):  # what was encrypted belongs to the id of the item that is done
            item.id = raw["id"]
        if not item.sent:
            for form, field in (("summary", "summary"), ("text", "content")):
                for index, part in enumerate(_objects(raw.get(field), "reasoning")):
                    text = part.get("text")
                    if not isinstance(text, str):
                        raise Malformed("sent a part of its reasoning without its text")
                    chunks += self._thought(item, form, index, text)
        sealed = raw.get("encrypted_content")
        if isinstance(sealed, str) and sealed:
            chunks.append(
                self._chunks.delta({"reasoning_details": [{**self._entry(item, "encrypted"), "data": sealed}]})
            )
        return chunks


_HANDLERS: dict[str, Callable[[Stream, Json], list[Json]]] = {
    "response.created": Stream._nothing,
    "response.in_progress": Stream._nothing,
    "response.queued": Stream._nothing,
    "response.output_item.added": Stream._added,
    "response.content_part.added": Stream._nothing,
    "response.output_text.delta": Stream._text,
    "response.refusal.delta": Stream._refusal,
    "response.reasoning_summary_text.delta": Stream._summary,
    "response.reasoning_text.delta": Stream._raw_thought,
    "response.function_call_arguments.delta": Stream._arguments,
    "response.custom_tool_call_input.delta": Stream._custom_input,
    "response.output_item.done": Stream._item_done,
    "response.completed": Stream._completed,
    "response.incomplete": Stream._completed,
}


def answer(value: Json, asked: Asked) -> Json:
    """A whole answer is a stream whose last event is its only one."""
    status = value.get("status")
    if status in ("failed", "cancelled", "in_progress", "queued"):
        raise Malformed(f"answered with a response that is {status}")
    if not isinstance(value.get("output"), list):
        raise Malformed("sent a response without output")
    stream = Stream(asked)
    chunks = stream.on({"type": "response.completed", "response": value}) + stream.end()
    made = completion(chunks, stream.usage)
    cited = _citations(value["output"])
    if cited:
        made["choices"][0]["message"]["annotations"] = cited
    return made


def _chunks(event: Json, asked: Asked) -> Chunks:
    response = event.get("response")
    if not isinstance(response, dict):
        response = {}
    created, tier = response.get("created_at"), response.get("service_tier")
    if isinstance(created, bool) or not isinstance(created, int | float) or not 0 <= created < _LATEST_S:
        created = asked.now_s
    named = response.get("id")
    chunks = Chunks(
        asked,
        named if isinstance(named, str) and named else event.get("item_id"),
        response.get("model"),
        int(created),
    )
    if isinstance(tier, str):
        chunks.head["service_tier"] = tier
    return chunks


def _object(value: Any, what: str) -> Json:
    if isinstance(value, dict):
        return value
    raise Malformed(f"sent {what} that is not an object")


def _objects(value: Any, where: str) -> list[Json]:
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(part, dict) for part in value):
        return value
    raise Malformed(f"sent {where} whose parts are not a list of objects")


def _piece(event: Json) -> str:
    piece = event.get("delta")
    if isinstance(piece, str):
        return piece
    raise Malformed("sent a delta that is not a string")


def _name(raw: Json) -> str:
    name = raw.get("name")
    return name if isinstance(name, str) else ""


def _cut_by(response: Json) -> str:
    """The finish reason of an answer that is not complete: whatever cut it, half of one is not told as whole."""
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return "content_filter" if reason == "content_filter" else "length"


def _logprobs(given: Any) -> list[Json]:
    told = []
    for entry in _objects(given, "logprobs"):
        token = _token(entry)
        if token is None:
            raise Malformed("sent logprobs without a token and its probability")
        others = [_token(other) for other in _objects(entry.get("top_logprobs"), "logprobs")]
        told.append({**token, "top_logprobs": [other for other in others if other is not None]})
    return told


def _token(entry: Json) -> Json | None:
    """None where it is not told, as may be among the alternatives."""
    token, logprob, raw = entry.get("token"), entry.get("logprob"), entry.get("bytes")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    whole = isinstance(raw, list) and all(isinstance(byte, int) for byte in raw)
    return {"token": token, "bytes": raw if whole else None, "logprob": logprob}


def _citations(output: list[Any]) -> list[Json]:
    """The pages that an answer cites, in chat's shape; their places count from the beginning of the whole text."""
    cited: list[Json] = []
    before = 0
    for item in output:
        if not isinstance(item, dict) or item.get("type") != _MESSAGE:
            continue
        for part in _objects(item.get("content"), "a message"):
            text = part.get("text")
            if part.get("type") != "output_text" or not isinstance(text, str):
                continue
            for note in _objects(part.get("annotations"), "annotations"):
                start, stop = note.get("start_index"), note.get("end_index")
                url, title = note.get("url"), note.get("title")
                if note.get("type") != "url_citation" or not isinstance(start, int) or not isinstance(stop, int):
                    continue
                if isinstance(url, str) and isinstance(title, str):
                    place = {"start_index": before + start, "end_index": before + stop}
                    cited.append({"type": "url_citation", "url_citation": {**place, "title": title, "url": url}})
            before += len(text)
    return cited


def _moderated(given: Json) -> Json:
    """Both verdicts of the moderation, each of which chat holds in a list."""
    return {side: _verdict(given.get(side)) for side in ("input", "output")}


def _verdict(given: Any) -> Any:
    if isinstance(given, dict) and given.get("type") == "moderation_result":
        return {"type": "moderation_results", "model": given.get("model"), "results": [given]}
    return given
