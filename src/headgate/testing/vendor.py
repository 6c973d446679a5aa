"""A whole fake vendor: answers any request of the dialects as OpenAI and Anthropic would, from what it asks for.

What it says is fixed: a sentence; where tools are offered, a call of each (of the first only where parallel calls are
off), unless results of tools came back; where a JSON schema is asked for, the smallest object that fits it. It is
strict where the vendors are: keys (where it was given some), JSON, required fields.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

import orjson

from headgate.testing import vendor_anthropic as anthropic
from headgate.testing import vendor_openai as openai
from headgate.testing import vendor_responses as responses
from headgate.testing.http1 import Request
from headgate.testing.replies import Answer, Reply
from headgate.testing.turns import Call, Json, Turn, Usage, example, pieces

SENTENCE = "Water finds its level, and so does this answer."
MODELS = ("gpt-4o-mini", "gpt-4.1", "claude-haiku-4-5")


class Vendor:
    """From a request to its reply, for `ScriptedUpstream`.

    models: what `/v1/models` lists. strict_models: other names are a 404. keys: other keys are a 401; None takes all.
    turn: decides what is said, from the request's body. usage: what is reported; None counts bytes and words.
    """

    def __init__(
        self,
        models: Sequence[str] = MODELS,
        *,
        strict_models: bool = False,
        keys: Collection[str] | None = None,
        turn: Callable[[Json], Turn] | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.models = tuple(models)
        self.keys = keys
        self._strict_models = strict_models
        self._turn = turn or say
        self._usage = usage

    def __call__(self, request: Request) -> Reply:
        is_anthropic = request.header("anthropic-version") is not None
        error = anthropic.error_answer if is_anthropic else openai.error_answer
        if self.keys is not None and _key(request) not in self.keys:
            return error(401)
        if request.method == "GET" and request.path.startswith("/v1/models"):
            return self._list_models(request.path, is_anthropic)
        serve = self._served().get(request.path)
        if serve is None:
            return error(404, f"The fake vendor serves nothing at {request.path}.")
        if request.method != "POST":
            return error(405, f"{request.method} is not for {request.path}.")
        try:
            body = request.json()
        except orjson.JSONDecodeError:
            return error(400, "The body is not JSON.")
        required, answer = serve
        for field in required:
            if not isinstance(body, dict) or field not in body:
                return error(400, f"Missing required parameter: {field}.")
        if self._strict_models and body["model"] not in self.models:
            return error(404)
        return answer(body)

    def _served(self) -> dict[str, tuple[tuple[str, ...], Callable[[Json], Reply]]]:
        return {
            "/v1/chat/completions": (("model", "messages"), self._chat),
            "/v1/completions": (("model", "prompt"), self._completions),
            "/v1/embeddings": (("model", "input"), self._embeddings),
            "/v1/responses": (("model", "input"), self._responses),
            "/v1/messages": (("model", "messages", "max_tokens"), self._messages),
            "/v1/messages/count_tokens": (("model", "messages"), self._count_tokens),
        }

    def _list_models(self, path: str, is_anthropic: bool) -> Answer:
        name = path.removeprefix("/v1/models").lstrip("/")
        if not name:
            return anthropic.models_answer(self.models) if is_anthropic else openai.models_answer(self.models)
        if name not in self.models:
            return anthropic.error_answer(404) if is_anthropic else openai.error_answer(404)
        if is_anthropic:
            return Answer(headers=anthropic.headers(), body=anthropic.model_json(name))
        return Answer(headers=openai.headers(), body=openai.model_json(name))

    def _say(self, body: Json, limit: int | None, cut_word: str) -> tuple[Turn, Usage]:
        turn = self._turn(body)
        words = pieces(turn.text)
        if limit is not None and len(words) > limit:
            turn = replace(turn, text="".join(words[:limit]), finish=cut_word)
        if self._usage is not None:
            return turn, self._usage
        return turn, Usage(input=count(body), output=max(1, len(pieces(turn.text)) + 8 * len(turn.calls)))

    def _chat(self, body: Json) -> Reply:
        turn, usage = self._say(body, body.get("max_completion_tokens") or body.get("max_tokens"), "length")
        turns = [turn] * (body.get("n") or 1)
        logprobs = bool(body.get("logprobs"))
        if not body.get("stream"):
            return openai.chat_answer(*turns, model=body["model"], usage=usage, logprobs=logprobs)
        asked = (body.get("stream_options") or {}).get("include_usage")
        told = usage if asked else None
        return openai.chat_stream(*turns, model=body["model"], usage=told, logprobs=logprobs)

    def _completions(self, body: Json) -> Reply:
        turn, usage = self._say({}, body.get("max_tokens", 16), "length")
        prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
        texts = [turn.text] * ((body.get("n") or 1) * len(prompts))
        usage = replace(usage, input=count(body))
        finish = turn.finish or "stop"
        if not body.get("stream"):
            return openai.completions_answer(*texts, model=body["model"], usage=usage, finish=finish)
        asked = (body.get("stream_options") or {}).get("include_usage")
        told = usage if asked else None
        return openai.completions_stream(*texts, model=body["model"], usage=told, finish=finish)

    def _embeddings(self, body: Json) -> Reply:
        given = body["input"]
        inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
        width = body.get("dimensions") or 8
        vectors = [[(row + 1) / (column + 2) for column in range(width)] for row in range(len(inputs))]
        encoding: Literal["float", "base64"] = "base64" if body.get("encoding_format") == "base64" else "float"
        tokens = self._usage.input if self._usage is not None else count(body)
        return openai.embeddings_answer(*vectors, model=body["model"], encoding=encoding, prompt_tokens=tokens)

    def _responses(self, body: Json) -> Reply:
        turn, usage = self._say(body, body.get("max_output_tokens"), "length")
        make = responses.responses_stream if body.get("stream") else responses.responses_answer
        status: responses.Status = "incomplete" if turn.finish == "length" else "completed"
        return make(turn, model=body["model"], usage=usage, status=status, echo=body)

    def _messages(self, body: Json) -> Reply:
        turn, usage = self._say(body, body["max_tokens"], "max_tokens")
        if (body.get("thinking") or {}).get("type") == "enabled" and turn.reasoning is None:
            turn = replace(turn, reasoning="The question first, then the answer.")
        make = anthropic.messages_stream if body.get("stream") else anthropic.messages_answer
        return make(turn, model=body["model"], usage=usage)

    def _count_tokens(self, body: Json) -> Reply:
        return anthropic.count_tokens_answer(self._usage.input if self._usage is not None else count(body))


def count(body: Json) -> int:
    """Tokens of a request by a rule that anyone can check: four bytes of its compact JSON each, rounded up."""
    return -(-len(orjson.dumps(body)) // 4)


def say(body: Json) -> Turn:
    """What the vendor says to a request, in any of the dialects; see the module."""
    tools = body.get("tools") or []
    choice = body.get("tool_choice")
    off = choice == "none" or (isinstance(choice, dict) and choice.get("type") == "none")
    if tools and not off and not _has_results(body):
        calls = [_call(tool) for tool in tools]
        serial = body.get("parallel_tool_calls") is False or (
            isinstance(choice, dict) and choice.get("disable_parallel_tool_use")
        )
        return Turn(calls=calls[:1] if serial else calls)
    schema = _schema(body)
    return Turn(SENTENCE if schema is None else orjson.dumps(example(schema)).decode())


def _key(request: Request) -> str:
    bearer = request.header("authorization") or ""
    return request.header("x-api-key") or bearer.removeprefix("Bearer ")


def _call(tool: Json) -> Call:
    function = tool.get("function", tool)
    schema = function.get("parameters") or function.get("input_schema") or {"type": "object"}
    return Call(function.get("name", tool.get("type", "tool")), example(schema))


def _has_results(body: Json) -> bool:
    items = body.get("messages") or body.get("input") or []
    last = items[-1] if isinstance(items, list) and items else {}
    if not isinstance(last, dict):
        return False
    content: Any = last.get("content")
    blocks = content if isinstance(content, list) else []
    return (
        last.get("role") == "tool"
        or last.get("type") == "function_call_output"
        or any(isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks)
    )


def _schema(body: Json) -> Json | None:
    """The schema of the answer that was asked for, in the words of chat, responses or messages."""
    chat = body.get("response_format") or {}
    if chat.get("type") == "json_object":
        return {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    for form in (
        chat.get("json_schema"),
        (body.get("text") or {}).get("format"),
        (body.get("output_config") or {}).get("format"),
        body.get("output_format"),
    ):
        if isinstance(form, dict) and isinstance(form.get("schema"), dict):
            found: Json = form["schema"]
            return found
    return None
