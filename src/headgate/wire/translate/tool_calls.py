"""The tool calls of a chat stream: which call each piece belongs to, and when the client is told of it.

A name may come in pieces, so a call is told of with its first arguments, or when it ends. One call is open at a time:
what belongs to a call that is closed cannot be put in its place any more, and no server is known to send it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from headgate.wire.translate.shape import Malformed, is_object

Json = dict[str, Any]


class CallBegun(NamedTuple):
    """id: empty where one has to be made up. custom: whether its input is any text, and no JSON."""

    id: str
    name: str
    custom: bool


class CallArguments(NamedTuple):
    text: str


class CallEnded(NamedTuple):
    """broken: the answer was cut, and so are these arguments."""

    broken: bool


CallPart = CallBegun | CallArguments | CallEnded

#: The finish reasons of an answer that did not come to its end.
_CUT = ("length", "content_filter")


class _Call:
    """told: whether the client knows of it, which is when its name is whole. pieces: of its arguments."""

    __slots__ = ("custom", "id", "index", "names", "names_length", "pieces", "told")

    def __init__(self, index: int | None, custom: bool) -> None:
        self.index, self.custom = index, custom
        self.id = ""
        self.names: list[str] = []
        self.names_length = 0
        self.pieces: list[str] = []
        self.told = False

    def named(self, name: str) -> None:
        if len(name) == self.names_length and name == "".join(self.names):
            return  # some repeat it in each piece
        if self.told:
            raise Malformed("sent the name of a tool call after its arguments")
        self.names.append(name)
        self.names_length += len(name)


class ToolCalls:
    __slots__ = ("_call", "_count", "_ids", "_indexes")

    def __init__(self) -> None:
        self._call: _Call | None = None
        self._count = 0
        self._ids: set[str] = set()  # of calls that are closed, as their indexes
        self._indexes: set[int] = set()

    def on(self, piece: Any, out: list[Any]) -> None:
        if not isinstance(piece, dict):
            raise Malformed("sent a tool call that is not an object")
        kind = piece.get("type")
        if kind not in (None, "", "function", "custom"):
            raise Malformed("sent a call of a tool that is not a function")
        custom = kind == "custom" or isinstance(piece.get("custom"), dict)
        said = piece.get("custom" if custom else "function") or {}
        if not isinstance(said, dict):
            raise Malformed("sent a tool call without a function")
        name, more = said.get("name") or "", said.get("input" if custom else "arguments")
        if isinstance(more, dict) and not custom:
            more = orjson.dumps(more).decode()
        if not isinstance(name, str) or not isinstance(more, str | None):
            raise Malformed("sent a tool call whose name or arguments are not text")
        call = self._call_of(piece, name, custom, out)
        if name:
            call.named(name)
        if more and not call.pieces and not custom:
            more = more.lstrip()
        if more:
            call.pieces.append(more)
        if call.told:
            if more:
                out.append(CallArguments(more))
        elif call.pieces and call.names:
            self._tell(call, out)

    def close(self, out: list[Any], finish: str = "") -> None:
        """Ends the open call, if there is one. finish: why the upstream finished, where it has. Raises Malformed."""
        call, self._call = self._call, None
        if call is None:
            return
        cut = finish in _CUT
        if not call.told:
            if cut:  # before its arguments began, or its name was whole
                return
            if not call.names:
                raise Malformed("sent a tool call without a name")
            self._tell(call, out)
        broken = bool(call.pieces) and not call.custom and not is_object("".join(call.pieces))
        if broken and not cut:
            raise Malformed("sent a tool call whose arguments are not JSON")
        if call.id:
            self._ids.add(call.id)
        if call.index is not None:
            self._indexes.add(call.index)
        out.append(CallEnded(broken))

    def _tell(self, call: _Call, out: list[Any]) -> None:
        call.told = True
        # Some servers give one id to several calls.
        out.append(CallBegun("" if call.id in self._ids else call.id, "".join(call.names), call.custom))
        if call.pieces:
            out.append(CallArguments("".join(call.pieces)))

    def _call_of(self, piece: Json, name: str, custom: bool, out: list[Any]) -> _Call:
        """The call that a piece belongs to.

        1. The call that is open, where the piece says its index, or no index and its id, or neither. With another id
           and a name it begins a new one all the same, since some upstreams number every call 0. Without index and
           id, a name begins a new one.
        2. None that could still be told, where its index or id is that of a call which is closed.
        3. A new one.
        """
        index, given = piece.get("index"), piece.get("id")
        given = given if isinstance(given, str) else ""
        if isinstance(index, bool) or not isinstance(index, int | None):
            raise Malformed("sent a tool call whose index is not a number")
        call = self._call
        if call is not None:  # 1
            other = bool(given and call.id and given != call.id)
            if index is None:
                begins = other or bool(name and call.names and not given)
            elif call.index is None:
                begins = other
            else:
                begins = index != call.index or (other and bool(name))
            if not begins and not (other and given in self._ids):
                call.id = call.id or given
                return call
            self.close(out)
        if index is not None:  # 2
            late = index in self._indexes and (not given or not name or given in self._ids)
        else:
            late = given in self._ids if given else not name and self._count > 0
        if late:
            raise Malformed("sent pieces of two tool calls at once")
        call = self._call = _Call(index, custom)  # 3
        call.id = given
        self._count += 1
        return call
