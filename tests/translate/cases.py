"""The golden cases: what each request, answer and stream becomes in another dialect, as files to be read.

    golden/<client>_to_<upstream>/<feature>/
        request.json            the client's body; its `model` is the model that is asked for
        about.json              optional: {"base_url": "https://api.openai.com/v1"}, where the address matters
        sent.json               {"body": ..., "dropped": [...]}, or {"refused": {"field": ..., "message": ...}}
        answer.upstream.json    an answer of the upstream     -> answer.client.json
        stream.upstream.sse     a stream of the upstream      -> stream.client.sse

A stream may be left out, and so may an answer. What was expected is written with `GOLDEN=write pytest tests/translate`;
read the difference before it is committed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from headgate.wire.anthropic_messages import MessagesMeter
from headgate.wire.dialect import Dialect
from headgate.wire.openai_chat import ChoicesMeter
from headgate.wire.openai_responses import ResponsesMeter
from headgate.wire.sse import EventSplitter, parse
from headgate.wire.stream import Step, StreamMeter
from headgate.wire.translate.shape import Refusal
from headgate.wire.translate.translation import Meter, Translation
from headgate.wire.translate.upstream import describe

GOLDEN = Path(__file__).parent / "golden"
NOW_S = 1_700_000_000

DIALECTS = {"chat": Dialect.CHAT, "messages": Dialect.MESSAGES, "responses": Dialect.RESPONSES}


def pair_of(case: Path) -> tuple[Dialect, Dialect]:
    client, upstream = case.parent.name.split("_to_")
    return DIALECTS[client], DIALECTS[upstream]


def translation(case: Path) -> Translation:
    """Raises Refusal."""
    client, dialect = pair_of(case)
    fields = orjson.loads((case / "request.json").read_bytes())
    return translate(client, dialect, fields, **about(case))


def translate(
    client: Dialect, dialect: Dialect, fields: dict[str, Any], base_url: str = "http://127.0.0.1:8080/v1"
) -> Translation:
    """Raises Refusal."""
    model = fields["model"]
    return Translation(client, fields, describe(f"up/{model}", model, dialect, base_url), NOW_S)


def about(case: Path) -> dict[str, Any]:
    path = case / "about.json"
    return orjson.loads(path.read_bytes()) if path.exists() else {}


def sent(case: Path) -> dict[str, Any]:
    """What `sent.json` should hold."""
    try:
        made = translation(case)
    except Refusal as refusal:
        return {"refused": {"field": refusal.field, "message": refusal.problem("the target").message}}
    return {"body": orjson.loads(made.body), "dropped": list(made.dropped)}


def upstream_meter(dialect: Dialect) -> StreamMeter:
    if dialect is Dialect.MESSAGES:
        return MessagesMeter()
    return ResponsesMeter() if dialect is Dialect.RESPONSES else ChoicesMeter(1, wants_usage=True)


def replayed(made: Translation, dialect: Dialect, pieces: list[bytes]) -> tuple[bytes, Meter, Step | None]:
    """The client's stream, from the upstream's in these pieces; the meter; and the last step."""
    meter = made.meter(upstream_meter(dialect))
    splitter = EventSplitter(16 * 1024 * 1024)
    out: list[bytes] = []
    step: Step | None = None
    for piece in pieces:
        for raw in splitter.feed(piece):
            step = meter.on(parse(raw))
            if step in (Step.ERROR, Step.INVALID):
                return b"".join(out), meter, step
            out.append(meter.out)
            if step is Step.END:
                return b"".join(out), meter, step
    closing = meter.closing()
    if closing is not None:
        out.append(closing)
        step = Step.END
    return b"".join(out), meter, step


def holds(made: Any, expected: Any) -> bool:
    """Whether all that is expected is there: of an object some fields, of a list some elements."""
    if isinstance(expected, dict):
        return isinstance(made, dict) and all(name in made and holds(made[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return isinstance(made, list) and all(any(holds(one, wanted) for one in made) for wanted in expected)
    return bool(made == expected) and type(made) is type(expected)
