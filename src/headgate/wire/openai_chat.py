"""`openai.chat`: POST /v1/chat/completions, and what its stream shares with /v1/completions."""

from __future__ import annotations

from typing import Any

from headgate.errors import Problem
from headgate.wire import answer, check
from headgate.wire.sse import Event
from headgate.wire.stream import Step, StreamMeter, load_object, problem_of
from headgate.wire.usage import from_openai

DONE = b"data: [DONE]\n\n"

#: Fields of a delta that are content to a client. A role alone is not.
_CONTENT = ("content", "tool_calls", "reasoning_content", "reasoning", "refusal", "function_call", "audio")


def check_request(fields: check.Fields) -> Problem | None:
    return (
        check.messages(fields)
        or check.boolean(fields, "stream")
        or check.positive(fields, "n", check.MAX_CHOICES)
        or check.positive(fields, "max_tokens")
        or check.positive(fields, "max_completion_tokens")
        or check.stream_options(fields)
        or check.objects(fields, "tools")
    )


def choices_asked(fields: check.Fields) -> int:
    return fields.get("n") or 1


def read_answer(body: bytes) -> answer.Answer:
    value = answer.load(body, "a chat completion")
    for choice in answer.objects(value, "choices", "a chat completion"):
        if not isinstance(choice.get("message"), dict):
            raise answer.not_an_answer("a choice without a message instead of a chat completion")
        if choice.get("finish_reason") == "error":
            raise answer.NotAnAnswer(problem_of(choice.get("error")))
    return answer.Answer(from_openai(value.get("usage")), value)


def has_content(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(delta.get(field) for field in _CONTENT)


class ChoicesMeter(StreamMeter):
    """Reads the streams that consist of chunks with `choices`: chat, and completions.

    choices: how many the client asked for. wants_usage: whether it asked for the usage chunk.
    """

    def __init__(self, choices: int, wants_usage: bool) -> None:
        super().__init__()
        self._asked = choices
        self._wants_usage = wants_usage
        self._open: set[int] = set()
        self._finished: set[int] = set()

    def _has_content(self, choice: dict[str, Any]) -> bool:
        return has_content(choice)

    def on(self, event: Event) -> Step:
        if event.data is None:
            return Step.OPENING
        if event.data == b"[DONE]":
            # The upstream's own word for the end vouches for choices that it never opened, not for those it left open.
            if self._finished and not self._open:
                return Step.END
            return self.invalid("ended its stream without a finish reason")
        chunk = self.body = load_object(event.data)
        if chunk is None:
            return self.invalid("sent an event that is not JSON")
        if chunk.get("error"):
            return self.failed(chunk["error"])
        choices = chunk.get("choices")
        usage = chunk.get("usage")
        if usage is not None:
            self.usage = from_openai(usage) or self.usage
        if not choices:
            return Step.OPENING if usage is None or self._wants_usage else Step.WITHHELD
        if not isinstance(choices, list):
            return self.invalid("sent a chunk whose 'choices' is not a list")
        step = Step.OPENING
        for choice in choices:
            if not isinstance(choice, dict):
                return self.invalid("sent a choice that is not an object")
            index = choice.get("index", 0)
            if not isinstance(index, int):
                return self.invalid("sent a choice whose index is not a number")
            reason = choice.get("finish_reason")
            if reason == "error":
                return self.failed(choice.get("error"))
            if reason:  # some upstreams write an empty one until the last
                self._finished.add(index)
                self._open.discard(index)
                step = Step.CONTENT
            elif index not in self._finished:
                self._open.add(index)
            if step is Step.OPENING and self._has_content(choice):
                step = Step.CONTENT
        return step

    def closing(self) -> bytes | None:
        whole = not self._open and len(self._finished) >= self._asked
        return DONE if whole else None
