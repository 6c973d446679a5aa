"""`openai.responses`: POST /v1/responses, without state.

What would live on at a vendor after the answer is refused, to whichever target the request goes: a stored conversation
is known to one vendor alone, an answer in the background comes when nobody meters it, and a tool that the vendor runs
costs what no one here has counted.
"""

from __future__ import annotations

from headgate.errors import Problem
from headgate.wire import answer, check
from headgate.wire.sse import Event
from headgate.wire.stream import Step, StreamMeter, load_object, problem_of
from headgate.wire.usage import from_responses

#: Events that announce something and say nothing yet.
OPENINGS = frozenset(
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
_NOT_DONE = ("cancelled", "in_progress", "queued")

#: Above this it is no number of an event, and headgate could not write the next.
_MAX_SEQUENCE_NUMBER = 2**53


_WHOLE = "nothing is stored here: send the whole conversation in 'input'"
_STATE = {
    "previous_response_id": _WHOLE,
    "conversation": _WHOLE,
    "prompt": "stored prompts are not used here: send the text itself in 'input' and 'instructions'",
}

#: Tools that the vendor's servers run. Those of other types are run by the client, or unknown and the upstream's to
#: judge.
_HOSTED = frozenset({"file_search", "code_interpreter", "image_generation", "mcp", "tool_search"})
_HOSTED_BEGIN = ("web_search",)  # their names go on with a version


def is_hosted(tool_type: object) -> bool:
    return isinstance(tool_type, str) and (tool_type in _HOSTED or tool_type.startswith(_HOSTED_BEGIN))


def check_request(fields: check.Fields) -> Problem | None:
    stateful = _check_state(fields)
    if stateful is not None:
        return stateful
    given = fields.get("input")
    if given is None:
        return check.bad("input", "you must provide an 'input'")
    if not isinstance(given, str | list):
        return check.bad("input", "'input' must be a string or a list of items")
    return (
        check.boolean(fields, "stream")
        or check.positive(fields, "max_output_tokens")
        or check.stream_options(fields)
        or check.objects(fields, "tools")
    )


def _check_state(fields: check.Fields) -> Problem | None:
    for name, why in _STATE.items():
        if fields.get(name) is not None:
            return check.bad(name, f"'{name}' is refused: {why}")
    if fields.get("background"):
        return check.bad("background", "'background' is refused: an answer comes on the connection that asked for it")
    given, tools = fields.get("input"), fields.get("tools")
    for index, item in enumerate(given if isinstance(given, list) else ()):
        if isinstance(item, dict) and item.get("type") == "item_reference":
            return check.bad(f"input[{index}]", f"'input[{index}]' refers to a stored item, and {_WHOLE}")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict) and is_hosted(tool.get("type")):
            return check.bad(
                f"tools[{index}]",
                f"'tools[{index}]' is refused: a tool of type '{tool['type'][:50]}' is run by its vendor's servers, "
                "where headgate can neither meter nor replace it",
            )
    return None


def read_answer(body: bytes) -> answer.Answer:
    value = answer.load(body, "a response")
    if value.get("status") == "failed":
        raise answer.NotAnAnswer(problem_of(value.get("error")))
    if not isinstance(value.get("output"), list):
        raise answer.not_an_answer("JSON without 'output' instead of a response")
    return answer.Answer(from_responses(value.get("usage")), value)


class ResponsesMeter(StreamMeter):
    def on(self, event: Event) -> Step:
        if event.data is None:
            return Step.OPENING
        if event.data == b"[DONE]":
            return self.invalid("ended its stream without completing the response")
        body = self.body = load_object(event.data)
        if body is None:
            return self.invalid("sent an event that is not JSON")
        kind = body.get("type")
        if not isinstance(kind, str):
            return self.failed(body["error"]) if body.get("error") else self.invalid("sent an event without a type")
        number = body.get("sequence_number")
        if isinstance(number, int) and 0 <= number < _MAX_SEQUENCE_NUMBER:
            self.sequence_number = number
        if kind == "error":
            return self.failed(body.get("error") or {**body, "type": None})
        if kind in OPENINGS:
            return Step.OPENING
        response = body.get("response")
        if isinstance(response, dict):
            self.usage = from_responses(response.get("usage")) or self.usage
        else:
            response = None
        if kind == "response.failed":
            return self.failed(response and response.get("error"))
        if kind not in _ENDS:
            return Step.CONTENT
        if response is None:
            return self.invalid("ended its stream without the response")
        status = response.get("status")
        if status == "failed":
            return self.failed(response.get("error"))
        return self.invalid(f"ended its stream with a response that is {status}") if status in _NOT_DONE else Step.END

    def closing(self) -> bytes | None:
        """Nothing can stand in for `response.completed`: it holds the whole answer."""
        return None
