"""One request's translation: the way there, and the way back of its answer.

Translation  one of the four converters, or two of them joined with chat in the middle
Meter        the upstream's stream, judged in its own dialect and given in the client's
"""

from __future__ import annotations

import re
from typing import Any, Protocol, cast

import orjson

from headgate.wire.anthropic_messages import is_empty
from headgate.wire.dialect import Dialect
from headgate.wire.openai_chat import DONE, has_content
from headgate.wire.openai_responses import OPENINGS
from headgate.wire.sse import Event
from headgate.wire.stream import Step, StreamMeter
from headgate.wire.translate import chat_to_messages, chat_to_responses, messages_to_chat, responses_to_chat
from headgate.wire.translate.asked import Asked
from headgate.wire.translate.shape import Malformed, Refusal
from headgate.wire.translate.upstream import Upstream, hub

Json = dict[str, Any]


class Stream(Protocol):
    """The events of one streamed answer, as they come. Both raise Malformed."""

    def on(self, event: Json) -> list[Json]:
        """The client's events that this one of the upstream makes known."""

    def end(self) -> list[Json]:
        """The client's last events, once the upstream's proper end has come."""


class Converter(Protocol):
    """What each of the four modules is."""

    NAMES: dict[str, str]

    def request(self, fields: Json, upstream: Upstream, dropped: list[str]) -> Json: ...

    def answer(self, value: Json, asked: Asked) -> Json: ...

    def Stream(self, asked: Asked) -> Stream: ...


_DIRECT: dict[tuple[Dialect, Dialect], Converter] = {
    (Dialect.CHAT, Dialect.MESSAGES): cast(Converter, chat_to_messages),
    (Dialect.MESSAGES, Dialect.CHAT): cast(Converter, messages_to_chat),
    (Dialect.CHAT, Dialect.RESPONSES): cast(Converter, chat_to_responses),
    (Dialect.RESPONSES, Dialect.CHAT): cast(Converter, responses_to_chat),
}


def names_of(client: Dialect, upstream: Dialect) -> dict[str, str]:
    """The upstream's fields that the client knows by another name. Only for pairs that are one step apart."""
    return _DIRECT[client, upstream].NAMES


class Translation:
    """body: what goes upstream. dropped: names of the client's fields that were left out."""

    def __init__(self, client: Dialect, fields: Json, upstream: Upstream, now_s: int) -> None:
        """Raises Refusal."""
        dropped: list[str] = []
        self.client = client
        self._steps: list[tuple[Converter, Asked]] = []
        direct = _DIRECT.get((client, upstream.dialect))
        if direct is not None:
            sent = direct.request(fields, upstream, dropped)
            self._steps.append((direct, Asked(fields, sent, upstream, now_s)))
        else:
            sent = self._through_chat(fields, upstream, dropped, now_s)
        self.dropped = tuple(dict.fromkeys(dropped))
        try:
            self.body = orjson.dumps(sent)
            if client is Dialect.RESPONSES:  # its answers say again what was asked, some levels further in
                orjson.dumps([[[fields]]])
        except orjson.JSONEncodeError as error:  # it reads deeper nesting than it writes
            raise Refusal("", f"the body cannot be written again: {error}", valid=False) from None

    def _through_chat(self, fields: Json, upstream: Upstream, dropped: list[str], now_s: int) -> Json:
        first, second = _DIRECT[self.client, Dialect.CHAT], _DIRECT[Dialect.CHAT, upstream.dialect]
        middle = hub(upstream.target, upstream.model, upstream.dialect)
        chat = first.request(fields, middle, dropped)
        later: list[str] = []
        try:
            sent = second.request(chat, upstream, later)
        except Refusal as refusal:
            raise Refusal(_renamed(refusal.field, first.NAMES), refusal.why, valid=refusal.valid) from None
        dropped += [_renamed(name, first.NAMES) for name in later]
        self._steps += [(second, Asked(chat, sent, upstream, now_s)), (first, Asked(fields, chat, middle, now_s))]
        return sent

    def answer(self, value: Json) -> bytes:
        """The client's whole answer from the upstream's. Raises Malformed."""
        for converter, asked in self._steps:
            value = converter.answer(value, asked)
        return _json(value)

    def meter(self, upstream: StreamMeter) -> Meter:
        """A fresh reader of the upstream's stream. upstream: its own dialect's meter, which is to show usage."""
        return Meter(upstream, [converter.Stream(asked) for converter, asked in self._steps], self.client)


#: No field that a converter knows is written with more.
_LONGEST_KNOWN = 100
_INDEX = re.compile(r"\[\d+\]")
_JOINT = re.compile(r"[.:\[]|\Z")


def _renamed(field: str, names: dict[str, str]) -> str:
    """A path of the chat in the middle, in the client's words. Its longest beginning among `names` is replaced; where
    both have as many indices, they are kept.

    A place among the messages is cut off: the client's own turns may be fewer or more, so that the same number would
    name another one.
    """
    if field.startswith("messages[") and not field.startswith("messages[]"):
        field = "messages"
    for end in reversed([joint.start() for joint in _JOINT.finditer(field[:_LONGEST_KNOWN])]):
        known = names.get(_INDEX.sub("[]", field[:end]))
        if known is not None:
            kept = _INDEX.findall(field[:end])
            if known.count("[]") == len(kept):
                known = known.replace("[]", "{}").format(*kept)
            return known + field[end:]
    return field


_COMMENT = b":\n\n"

#: A translation keeps much of an answer until its end, such as the texts that a response repeats.
_MAX_STREAM_BYTES = 64 * 1024 * 1024


class Meter(StreamMeter):
    """`out` holds what the last event became; it is empty where that waits for more."""

    def __init__(self, upstream: StreamMeter, streams: list[Stream], client: Dialect) -> None:
        super().__init__()
        self.out = b""
        self._upstream = upstream
        self._streams = streams
        self._client = client
        self._came = 0
        self._said = False
        self._told: set[object] = set()

    def on(self, event: Event) -> Step:
        upstream = self._upstream
        if event.data is None:  # a comment says that the upstream is there, and so is the client told
            self.out = _COMMENT
            return Step.OPENING
        self._came += len(event.data)
        if self._came > _MAX_STREAM_BYTES:
            return self.invalid(f"sent more than {_MAX_STREAM_BYTES} bytes of events")
        upstream.body = None
        step = upstream.on(event)
        self.usage = upstream.usage
        self.out = b""
        if step is Step.ERROR or step is Step.INVALID:
            self.problem = upstream.problem
            return step
        try:
            out = self._passed(upstream.body) if upstream.body is not None else []
            if step is Step.END:
                out += self._ended()
            self.out = self._written(out)
        except Malformed as fault:
            return self.invalid(str(fault))
        if step is Step.END:
            self.out += DONE if self._client is Dialect.CHAT else b""
        elif not self._said:
            # What it became may say nothing yet: white space waits for a word, a call for the whole of its name.
            self._said = any(_says_something(event, self._client) for event in out)
            return Step.CONTENT if self._said else Step.OPENING
        return step

    def closing(self) -> bytes | None:
        if self._upstream.closing() is None:
            return None
        try:
            out = self._written(self._ended())
        except Malformed as fault:
            self.invalid(str(fault))
            return None
        return out + DONE if self._client is Dialect.CHAT else out

    def _passed(self, event: Json) -> list[Json]:
        events = [event]
        for stream in self._streams:
            events = [out for one in events for out in stream.on(one)]
        return events

    def _ended(self) -> list[Json]:
        events: list[Json] = []
        for stream in self._streams:
            events = [out for one in events for out in stream.on(one)] + stream.end()
        return events

    def _say_once(self, entry: Json) -> None:
        """Clients add up the strings of entries of one index, so what is the same in all is told with the first."""
        if entry["index"] in self._told:
            entry.pop("format", None)
            entry.pop("id", None)
        self._told.add(entry["index"])

    def _written(self, events: list[Json]) -> bytes:
        if not events:
            return b""
        if self._client is Dialect.CHAT:
            for event in events:
                for choice in event["choices"]:
                    for entry in choice["delta"].get("reasoning_details") or ():
                        self._say_once(entry)
            return b"".join([b"data: " + _json(event) + b"\n\n" for event in events])
        if self._client is Dialect.RESPONSES:
            self.sequence_number = events[-1]["sequence_number"]
        return b"".join([f"event: {e['type']}\ndata: ".encode() + _json(e) + b"\n\n" for e in events])


def _says_something(event: Json, client: Dialect) -> bool:
    """Whether an event is content to the client, and not only the announcement of some."""
    if client is Dialect.CHAT:
        return any(choice["finish_reason"] or has_content(choice) for choice in event["choices"])
    if client is Dialect.RESPONSES:
        return event["type"] not in OPENINGS
    kind = event["type"]
    return kind != "message_start" and not (kind == "content_block_start" and is_empty(event["content_block"]))


def _json(value: Json) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:  # it reads deeper nesting than it writes
        raise Malformed(f"sent JSON that cannot be written again: {error}") from None
