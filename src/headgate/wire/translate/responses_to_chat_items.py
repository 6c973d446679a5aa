"""The items of a streamed response: each writes the events of its own life, and gives itself whole when it is closed.

An item that was announced must be told to its end, and what was told piece by piece must be the same as what is told
at last. Both hold here by construction: pieces are kept as they are written, and only `close` joins them.
"""

from __future__ import annotations

from typing import Any, Final

from headgate.wire.translate.reasoning import UNSIGNED

Json = dict[str, Any]


class Writer:
    """Numbers the events, and keeps those of one step."""

    __slots__ = ("_number", "out")

    def __init__(self) -> None:
        self.out: list[Json] = []
        self._number = 0

    def write(self, kind: str, **fields: Any) -> None:
        self.out.append({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1


class Reasoning:
    """opaque: what a vendor wants to see again, in the form for the client; nothing comes after it."""

    __slots__ = ("_id", "_pieces", "_place", "_writer", "opaque")

    def __init__(self, writer: Writer, place: int, item_id: str) -> None:
        self._writer, self._place, self._id = writer, place, item_id
        self._pieces: list[str] = []
        self.opaque: str | None = None
        item = {"id": item_id, "type": "reasoning", "summary": []}
        writer.write("response.output_item.added", output_index=place, item=item)

    def text(self, delta: str) -> None:
        if not self._pieces:
            self._tell("response.reasoning_summary_part.added", part={"type": "summary_text", "text": ""})
        self._pieces.append(delta)
        self._tell("response.reasoning_summary_text.delta", delta=delta)

    def close(self, encrypted: bool) -> Json:
        """The whole item. encrypted: whether the client wants to be told what is opaque."""
        item: Json = {"id": self._id, "type": "reasoning", "summary": []}
        if self._pieces:
            part = {"type": "summary_text", "text": "".join(self._pieces)}
            self._tell("response.reasoning_summary_text.done", text=part["text"])
            self._tell("response.reasoning_summary_part.done", part=part)
            item["summary"] = [part]
        if encrypted:
            item["encrypted_content"] = self.opaque or UNSIGNED
        self._writer.write("response.output_item.done", output_index=self._place, item=item)
        return item

    def _tell(self, kind: str, **fields: Any) -> None:
        self._writer.write(kind, item_id=self._id, output_index=self._place, summary_index=0, **fields)


class Message:
    __slots__ = ("_annotations", "_content", "_id", "_kind", "_logprobs", "_pieces", "_place", "_writer")

    def __init__(self, writer: Writer, place: int, item_id: str) -> None:
        self._writer, self._place, self._id = writer, place, item_id
        self._content: list[Json] = []  # the parts that are done
        self._kind = ""  # of the part that is open
        self._pieces: list[str] = []
        self._logprobs: list[Json] = []
        self._annotations: list[Json] = []
        item = self._item("in_progress", [])
        writer.write("response.output_item.added", output_index=place, item=item)

    def text(self, delta: str, logprobs: list[Json]) -> None:
        if self._kind != "output_text":
            self._open("output_text")
        self._pieces.append(delta)
        self._logprobs += logprobs
        self._tell("response.output_text.delta", delta=delta, logprobs=logprobs)

    def refusal(self, delta: str) -> None:
        if self._kind != "refusal":
            self._open("refusal")
        self._pieces.append(delta)
        self._tell("response.refusal.delta", delta=delta)

    def annotation(self, annotation: Json) -> None:
        """Of the text so far; one without text has nothing that it could belong to."""
        if self._kind == "output_text":
            at = len(self._annotations)
            self._annotations.append(annotation)
            self._tell("response.output_text.annotation.added", annotation_index=at, annotation=annotation)

    def close(self, status: str) -> Json:
        self._close_part()
        item = self._item(status, self._content)
        self._writer.write("response.output_item.done", output_index=self._place, item=item)
        return item

    def _open(self, kind: str) -> None:
        self._close_part()
        self._kind = kind
        self._tell("response.content_part.added", part=self._part())

    def _close_part(self) -> None:
        if not self._kind:
            return
        part = self._part()
        if self._kind == "output_text":
            self._tell("response.output_text.done", text=part["text"], logprobs=self._logprobs)
        else:
            self._tell("response.refusal.done", refusal=part["refusal"])
        self._tell("response.content_part.done", part=part)
        self._content.append(part)
        self._kind, self._pieces, self._logprobs, self._annotations = "", [], [], []

    def _part(self) -> Json:
        whole = "".join(self._pieces)
        if self._kind == "refusal":
            return {"type": "refusal", "refusal": whole}
        return {
            "type": "output_text",
            "text": whole,
            "annotations": list(self._annotations),
            "logprobs": list(self._logprobs),
        }

    def _item(self, status: str, content: list[Json]) -> Json:
        return {"id": self._id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _tell(self, kind: str, **fields: Any) -> None:
        place = len(self._content)
        self._writer.write(kind, item_id=self._id, output_index=self._place, content_index=place, **fields)


#: By the type of a call: the field in which its pieces are joined, and the beginning of their events' names.
_CALLS: Final = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}
CALL_ID_PREFIX: Final = {"function_call": "fc", "custom_tool_call": "ctc"}


class Call:
    """namespace: empty for a tool outside of any."""

    __slots__ = ("_call_id", "_id", "_kind", "_name", "_namespace", "_pieces", "_place", "_writer")

    def __init__(
        self, writer: Writer, place: int, item_id: str, kind: str, call_id: str, name: str, namespace: str
    ) -> None:
        self._writer, self._place, self._id, self._kind = writer, place, item_id, kind
        self._call_id, self._name, self._namespace = call_id, name, namespace
        self._pieces: list[str] = []
        writer.write("response.output_item.added", output_index=place, item=self._item("in_progress", ""))

    def piece(self, delta: str) -> None:
        self._pieces.append(delta)
        self._tell("delta", delta=delta)

    def close(self, broken: bool) -> Json:
        """The whole item. broken: its arguments were cut."""
        if not self._pieces and self._kind == "function_call":
            self.piece("{}")
        said = "".join(self._pieces)
        self._tell("done", **{_CALLS[self._kind][0]: said})
        item = self._item("incomplete" if broken else "completed", said)
        self._writer.write("response.output_item.done", output_index=self._place, item=item)
        return item

    def _item(self, status: str, said: str) -> Json:
        head = {"id": self._id, "type": self._kind}
        if self._kind == "function_call":  # the other has no status
            head["status"] = status
        if self._namespace:
            head["namespace"] = self._namespace
        return {**head, _CALLS[self._kind][0]: said, "call_id": self._call_id, "name": self._name}

    def _tell(self, what: str, **fields: Any) -> None:
        self._writer.write(f"{_CALLS[self._kind][1]}.{what}", item_id=self._id, output_index=self._place, **fields)
