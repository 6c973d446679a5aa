"""`openai.completions`: POST /v1/completions, the older text interface."""

from __future__ import annotations

from typing import Any

from headgate.errors import Problem
from headgate.wire import answer, check
from headgate.wire.openai_chat import ChoicesMeter
from headgate.wire.usage import from_openai


def check_request(fields: check.Fields) -> Problem | None:
    prompt = fields.get("prompt")
    if prompt is None:
        return check.bad("prompt", "you must provide a 'prompt'")
    if not isinstance(prompt, str | list):
        return check.bad("prompt", "'prompt' must be a string or a list")
    if isinstance(prompt, list) and not prompt:
        return check.bad("prompt", "'prompt' must not be an empty list")
    return (
        check.boolean(fields, "stream")
        or check.positive(fields, "n", check.MAX_CHOICES)
        or check.positive(fields, "best_of", check.MAX_CHOICES)
        or check.positive(fields, "max_tokens")
        or check.stream_options(fields)
    )


def choices_asked(fields: check.Fields) -> int:
    """A choice for each of `n` for each prompt; a list of token numbers is one prompt."""
    prompt = fields["prompt"]
    prompts = 1 if isinstance(prompt, str) or isinstance(prompt[0], int) else len(prompt)
    return prompts * (fields.get("n") or 1)


def read_answer(body: bytes) -> answer.Answer:
    value = answer.load(body, "a completion")
    for choice in answer.objects(value, "choices", "a completion"):
        if not isinstance(choice.get("text"), str):
            raise answer.not_an_answer("a choice without text instead of a completion")
    return answer.Answer(from_openai(value.get("usage")), value)


class CompletionsMeter(ChoicesMeter):
    def _has_content(self, choice: dict[str, Any]) -> bool:
        return bool(choice.get("text"))
