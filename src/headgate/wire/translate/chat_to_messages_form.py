"""An answer in a form (`response_format`) from an upstream that speaks messages.

1. Where the model has a form of its own, `output_config.format`, the schema goes there. The vendor makes a grammar of
   it, which takes only a part of JSON schema: every object must be closed, and there are no limits of numbers and
   lengths. An object that leaves open whether it may hold more is closed, since what fits it then fitted it before;
   limits go into the description, where the model reads them.
2. Else, and where the grammar could not hold the schema, it becomes a tool that the model must call, and the tool's
   input is the answer. A tool's input is an object: any other schema stands in one as `value`, and is taken out again
   on the way back.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import orjson

from headgate.wire.translate.asked import Asked
from headgate.wire.translate.ruling import Ruling
from headgate.wire.translate.shape import Malformed, flag, mapping, string

Json = dict[str, Any]

#: The tool whose input is the answer. No client may have one of this name.
ANSWER_TOOL: Final = "headgate_answer"
_VALUE: Final = "value"
_HINT: Final = "Gives the answer to the user. Its input is the whole answer, in the form that is asked for."

FIELD: Final = "response_format.json_schema"
_TYPE: Final = frozenset({"type"})
_SCHEMA_FORM: Final = frozenset({"type", "json_schema"})
_SCHEMA: Final = frozenset({"name", "description", "schema", "strict"})


class Form(NamedTuple):
    """What is asked for: the vendor's own form, or a tool that must be called."""

    format: Json | None
    tool: Json | None


def form_of(fields: Json, ruling: Ruling) -> Form | None:
    """None where any text will do. Raises Refusal."""
    given = fields.get("response_format")
    if given is None:
        return None
    kind = mapping(given, "response_format").get("type")
    if kind in ("text", "json_object"):
        ruling.rest(given, _TYPE, "response_format", "response_format")
        return Form(None, _tool({"type": "object"}, None)) if kind == "json_object" else None
    if kind != "json_schema":
        raise ruling.kind(kind, "response_format", "response_format.type")
    ruling.rest(given, _SCHEMA_FORM, "response_format", "response_format")
    described = mapping(given.get("json_schema"), FIELD)
    ruling.rest(described, _SCHEMA, FIELD, FIELD)
    said, schema = described.get("description"), described.get("schema")
    for name in ("name", "description"):
        if described.get(name) is not None:
            string(described[name], f"{FIELD}.{name}")
    flag(described.get("strict"), f"{FIELD}.strict")
    schema = {"type": "object"} if schema is None else mapping(schema, f"{FIELD}.schema")
    fitting = fitted(schema) if ruling.upstream.schema_output else None
    if fitting is None:
        return Form(None, _tool(schema, said))
    if fitting.limits:
        ruling.drop(f"{FIELD}.schema")
    if said and not fitting.schema.get("description"):
        fitting.schema["description"] = said
    return Form({"type": "json_schema", "schema": fitting.schema}, None)


def _tool(schema: Json, said: str | None) -> Json:
    return {
        "name": ANSWER_TOOL,
        "description": f"{_HINT} {said}" if said else _HINT,
        "input_schema": schema if _is_input(schema) else _wrapped(schema),
    }


def _is_input(schema: Json) -> bool:
    """Whether the vendor takes it for a tool's input as it is."""
    return schema.get("type") == "object" and not schema.keys() & {"anyOf", "oneOf", "allOf"}


def _wrapped(schema: Json) -> Json:
    """References are made from the root, so what they refer to stays there."""
    roots: Json = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    inner = {name: part for name, part in schema.items() if name not in roots}
    return {"type": "object", "properties": {_VALUE: inner}, "required": [_VALUE], **roots}


# --- what the vendor's grammar takes


class Fitting(NamedTuple):
    """schema: a copy that the grammar takes. limits: whether some went into descriptions."""

    schema: Json
    limits: bool


#: Keywords that are refused, and of which a description can say the same.
_LIMITS: Final = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"}
) | {"pattern", "maxItems", "uniqueItems", "minProperties", "maxProperties"}
_FORMATS: Final = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
#: Keywords that are refused, and without which the schema would be another.
_MISFITS: Final = frozenset(
    {"patternProperties", "propertyNames", "prefixItems", "contains", "not", "if", "dependentRequired"}
) | {"dependentSchemas", "unevaluatedProperties", "unevaluatedItems"}
#: No schema that is meant is nested deeper.
_DEEPEST: Final = 100


class _Misfit(Exception):
    pass


def fitted(schema: Json) -> Fitting | None:
    """None where the grammar cannot hold the schema."""
    limits: list[str] = []
    try:
        made = _fit(schema, limits, 0)
    except _Misfit:
        return None
    return Fitting(made, bool(limits))


def _fit(schema: Any, limits: list[str], depth: int) -> Any:
    if not isinstance(schema, dict):
        return schema
    if depth > _DEEPEST or not _MISFITS.isdisjoint(schema):
        raise _Misfit
    if "oneOf" in schema and "anyOf" in schema:
        raise _Misfit
    made: Json = {}
    said: list[str] = []
    for key, value in schema.items():
        if key in _LIMITS or (key == "minItems" and value not in (0, 1)) or (key == "format" and value not in _FORMATS):
            said.append(f"{key}: {_written(value)}")
        elif key in ("properties", "$defs", "definitions") and isinstance(value, dict):
            made[key] = {name: _fit(inner, limits, depth + 1) for name, inner in value.items()}
        elif key in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            if key == "allOf" and len(value) > 1:  # each would have to be closed, and then they exclude each other
                raise _Misfit
            made["allOf" if key == "allOf" else "anyOf"] = [_fit(inner, limits, depth + 1) for inner in value]
        elif key == "items":
            made[key] = _fit(value, limits, depth + 1)
        else:
            made[key] = value
    kind = made.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in made:
        if "properties" not in made and "additionalProperties" not in made:
            raise _Misfit  # any object would do
        if made.setdefault("additionalProperties", False) is not False:
            raise _Misfit
    if said:
        limits += said
        before = made.get("description")
        made["description"] = f"{before} ({', '.join(said)})" if isinstance(before, str) else ", ".join(said)
    return made


def _written(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise _Misfit from None


# --- the way back


class Answering:
    """The input of the tool, as it comes, as the answer's text. called: whether the tool was."""

    __slots__ = ("_begun", "_held", "_held_size", "_said", "_wrapped", "called")

    def __init__(self, wrapped: bool) -> None:
        self.called = False
        self._wrapped = wrapped
        self._begun = not wrapped  # whether the value has
        self._held: list[str] = []  # what may still turn out to belong to the wrapping
        self._held_size = 0
        self._said: list[str] = []

    def feed(self, piece: str) -> str:
        """The text that this piece makes known."""
        if self._wrapped:
            piece = self._unwrapped(piece)
        self._said.append(piece)
        return piece

    def _unwrapped(self, piece: str) -> str:
        is_blank = not piece.strip(_BLANKS)
        if is_blank and (self._held or not self._begun):  # models write white space without end; it is not looked at
            self._hold(piece)
            return ""
        text = "".join([*self._held, piece]) if self._held else piece
        self._held.clear()
        self._held_size = 0
        if not self._begun:
            opening = _OPENING.match(text)
            if opening is None:
                self._hold(text)
                return ""
            self._begun = True
            text = text[opening.end() :]
        # The last bracket is the wrapping's, and only the end tells which was the last.
        sure = text.rfind("}")
        if sure < 0 or text[sure + 1 :].strip(_BLANKS):
            return text
        self._hold(text[sure:])
        return text[:sure]

    def _hold(self, text: str) -> None:
        self._held.append(text)
        self._held_size += len(text)
        if self._held_size > _MOST_HELD:
            raise Malformed("sent an answer that has not the form that was asked for")

    def finish(self, cut: bool) -> str:
        """The rest, once the answer has ended. cut: whether by its limit. Raises Malformed."""
        if not self.called:
            return ""
        said = "".join(self._said)
        try:
            if not self._begun:  # written in another way than models do
                value = orjson.loads("".join(self._held))
                return orjson.dumps(value[_VALUE]).decode() if value.keys() == {_VALUE} else self._unfit(cut)
            if not self._wrapped and not said.strip(_BLANKS):
                return "{}"
            orjson.loads(said)
        except (orjson.JSONDecodeError, orjson.JSONEncodeError, AttributeError):
            return self._unfit(cut)
        return ""

    def _unfit(self, cut: bool) -> str:
        if not cut:
            raise Malformed("sent an answer that has not the form that was asked for")
        return "".join(self._held) if self._begun else ""


_MOST_HELD: Final = 1024 * 1024
_BLANKS: Final = " \t\r\n"
_OPENING: Final = re.compile(r'[ \t\r\n]*\{[ \t\r\n]*"' + _VALUE + r'"[ \t\r\n]*:[ \t\r\n]*(?=[^ \t\r\n])')


def answering(asked: Asked) -> Answering | None:
    """None where no tool was to give the answer."""
    tools = asked.sent.get("tools")
    if not isinstance(tools, list) or not tools or tools[-1].get("name") != ANSWER_TOOL:
        return None
    return Answering(wrapped=_VALUE in _properties(tools[-1]) and _is_wrapped(asked.fields))


def _properties(tool: Json) -> Json:
    found = tool["input_schema"].get("properties")
    return found if isinstance(found, dict) else {}


def _is_wrapped(fields: Json) -> bool:
    form = fields["response_format"]
    schema = form["json_schema"].get("schema") if form["type"] == "json_schema" else None
    return schema is not None and not _is_input(schema)
