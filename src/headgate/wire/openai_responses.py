"""`openai.responses`: POST /v1/responses."""

from __future__ import annotations

from headgate.errors import Problem, Reason
from headgate.wire import answer, check
from headgate.wire.sse import Event
from headgate.wire.stream import Step, StreamMeter, load_object
from headgate.wire.usage import from_responses

#: Events that announce something and say nothing yet.
_OPENINGS = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
        "keepalive",
    }
)
_ENDS = frozenset({"response.completed", "response.incomplete"})


def check_request(fields: check.Fields) -> Problem | None:
    given = fields.get("input")
    if given is None and fields.get("prompt") is None:
        return check.bad("input", "you must provide an 'input'")
    if given is not None and not isinstance(given, str | list):
        return check.bad("input", "'input' must be a string or a list of items")
    return (
        check.boolean(fields, "stream")
        or check.positive(fields, "max_output_tokens")
        or check.mapping(fields, "stream_options")
        or check.objects(fields, "tools")
    )


def read_answer(body: bytes) -> answer.Answer:
    """A response that failed upstream is an answer in this dialect: it says so itself, in `status` and `error`."""
    if b'"error"' in body:
        value = load_object(body)
        if value is not None and value.get("object") == "response" and value.get("status") == "failed":
            raise answer.NotAnAnswer(_problem(value.get("error")))
    value = answer.load(body, "a response")
    if not isinstance(value.get("output"), list):
        raise answer.not_an_answer("JSON without 'output' instead of a response")
    return answer.Answer(from_responses(value.get("usage")))


def _problem(error: object) -> Problem:
    from headgate.wire.stream import problem_of

    return problem_of(error, Reason.UPSTREAM_ERROR)


class ResponsesMeter(StreamMeter):
    def __init__(self) -> None:
        super().__init__()
        self._content_seen = False

    def on(self, event: Event) -> Step:
        if event.data is None:
            return Step.OPENING
        if event.data == b"[DONE]":
            return self.invalid("ended its stream without completing the response")
        body = load_object(event.data)
        if body is None:
            return self.invalid("sent an event that is not JSON")
        kind = body.get("type")
        if not isinstance(kind, str):
            return self.failed(body["error"]) if body.get("error") else self.invalid("sent an event without a type")
        number = body.get("sequence_number")
        if isinstance(number, int):
            self.sequence_number = number
        if kind == "error":
            return self.failed(body.get("error") or body)
        if kind in _OPENINGS:
            return Step.OPENING
        response = body.get("response")
        if isinstance(response, dict):
            self.usage = from_responses(response.get("usage")) or self.usage
            if kind == "response.failed":
                return self.failed(response.get("error"))
        return Step.END if kind in _ENDS else Step.CONTENT

    def closing(self) -> bytes | None:
        """Nothing can stand in for `response.completed`: it holds the whole answer."""
        return None
