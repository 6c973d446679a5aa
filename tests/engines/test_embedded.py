"""The embedded engine, for real: what the demonstration model says, and what its process does when killed."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop

from headgate.engines import demo_model
from headgate.engines.embedded import DEFAULT_OUTPUT_TOKENS, EXIT_FAILED, EXIT_PORT_TAKEN
from headgate.engines.events import EngineEvent, EngineExited, EngineStarted
from headgate.engines.process import TAIL_LINES, Backoff, EmbeddedEngine, EngineFault, Tail, _environment, available

needs_engine = pytest.mark.skipif(not available(), reason=f"no embedded engine: {available().reason}")
real = [pytest.mark.real, needs_engine]

PROMPTS = [
    "Hi",
    "What is 2 + 2?",
    'Answer only with "yes".',
    "Say nothing. End at once.",
    "日本語で答えてください 🙂",
    '{"a": [1, 2, {',
    "x",
    "line\n\n\nline\n",
    "</s><|end|>",
    "the river " * 300,
]
WEATHER = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer"},
    },
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": WEATHER}}


def post(base_url: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        base_url + path, json.dumps(body).encode(), {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def stream(base_url: str, path: str, body: dict[str, Any]) -> list[tuple[str | None, str]]:
    """The events of a streamed answer, as (name, data)."""
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
    connection.request("POST", url.path + path, json.dumps(body | {"stream": True}))
    answer = connection.getresponse()
    assert answer.status == 200 and answer.getheader("content-type") == "text/event-stream"
    events = []
    for block in answer.read().decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line)
        if fields:
            events.append((fields.get("event"), fields["data"]))
    connection.close()
    return events


def chat(prompt: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], "max_tokens": 12, **more}


class TestWhatItSays:
    pytestmark = real

    @pytest.mark.parametrize("temperature", [0, 0.3, 0.8, 1, 1.5, 2])
    def test_a_chat_always_has_content(self, demo_engine: str, temperature: float) -> None:
        for seed, prompt in enumerate(PROMPTS * 3):
            answer = post(demo_engine, "/chat/completions", chat(prompt, temperature=temperature, seed=seed))
            content = answer["choices"][0]["message"]["content"]
            assert content.strip() and content.isascii() and "<" not in content
            assert answer["usage"]["completion_tokens"] == 12
            assert answer["choices"][0]["finish_reason"] == "length"

    def test_no_sampler_option_makes_it_fall_silent(self, demo_engine: str) -> None:
        for more in (
            {"top_k": 0, "top_p": 1, "min_p": 0, "temperature": 5},
            {"presence_penalty": 2, "frequency_penalty": 2},
            {"repeat_penalty": 2.0, "mirostat": 2},
            {"max_tokens": 1},
        ):
            for seed in range(10):
                answer = post(demo_engine, "/chat/completions", chat("Hi", seed=seed, **more))
                content = answer["choices"][0]["message"]["content"]
                assert content.strip() and content.isascii()

    @pytest.mark.parametrize("temperature", [0, 0.8, 2])
    def test_a_streamed_chat_always_has_content(self, demo_engine: str, temperature: float) -> None:
        for seed, prompt in enumerate(PROMPTS):
            body = chat(prompt, temperature=temperature, seed=seed, stream_options={"include_usage": True})
            events = [data for _, data in stream(demo_engine, "/chat/completions", body)]
            assert events[-1] == "[DONE]"
            *chunks, usage = map(json.loads, events[:-1])
            assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks).strip()
            assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
            assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 12

    def test_the_prompt_and_the_seed_matter(self, demo_engine: str) -> None:
        def say(prompt: str, **more: Any) -> str:
            text: str = post(demo_engine, "/chat/completions", chat(prompt, **more))["choices"][0]["message"]["content"]
            return text

        assert len({say(prompt, temperature=0) for prompt in PROMPTS}) >= len(PROMPTS) - 2
        assert len({say("Hi", seed=seed) for seed in range(8)}) >= 6

    def test_without_a_limit_it_stops_at_the_engines_own(self, demo_engine: str) -> None:
        answer = post(demo_engine, "/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]})
        assert answer["usage"]["completion_tokens"] == DEFAULT_OUTPUT_TOKENS
        assert answer["choices"][0]["finish_reason"] == "length"

    def test_its_words_are_words(self, demo_engine: str) -> None:
        answer = post(demo_engine, "/chat/completions", chat("Tell me a story", max_tokens=200))
        known = {token.text.strip("\u2581").lower() for token in demo_model.vocabulary() if len(token.text) > 1} | {"a"}
        said = answer["choices"][0]["message"]["content"].lower().replace(".", " ").replace(",", " ").split()
        assert len(said) > 100 and set(said) <= known

    def test_a_conversation_with_a_system_prompt_and_tool_results_fits_the_template(self, demo_engine: str) -> None:
        call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ]
        body = {"messages": messages, "tools": [TOOL], "max_tokens": 200}
        message = post(demo_engine, "/chat/completions", body)["choices"][0]["message"]
        assert message["content"].strip() and not message.get("tool_calls")

    def test_completions(self, demo_engine: str) -> None:
        for prompt in ("Once upon", 'a "', "1+1=", "", "{", "end."):
            answer = post(demo_engine, "/completions", {"prompt": prompt, "max_tokens": 8})
            assert answer["choices"][0]["text"].strip()
        events = [data for _, data in stream(demo_engine, "/completions", {"prompt": "Once", "max_tokens": 4})]
        assert events[-1] == "[DONE]"
        assert "".join(json.loads(data)["choices"][0]["text"] for data in events[:-1]).strip()

    def test_embeddings_tell_texts_apart(self, demo_engine: str) -> None:
        body = {
            "input": ["the quiet river turns in winter", "the quiet river turns in summer", "12345 + 6789"],
            "model": "headgate-demo",
        }
        one, near, far = (entry["embedding"] for entry in post(demo_engine, "/embeddings", body)["data"])
        assert len(one) == demo_model.DIM

        def alike(a: list[float], b: list[float]) -> float:
            return sum(x * y for x, y in zip(a, b, strict=True))

        assert alike(one, one) == pytest.approx(1, abs=1e-3)
        assert alike(one, near) > alike(one, far) + 0.1


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mood": {"type": "string", "enum": ["happy", "sad", "été", "two words"]},
        "sure": {"type": "boolean"},
        "name": {"type": "string"},
        "code": {"type": "string", "minLength": 30, "maxLength": 60},
        "count": {"type": "integer"},
        "share": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "inner": {"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]},
        "free": {"type": ["string", "null"]},
    },
    "required": ["mood", "sure", "name", "code", "count", "share", "tags", "inner", "free"],
    "additionalProperties": False,
}


class TestGrammars:
    pytestmark = real

    @pytest.mark.parametrize("temperature", [0, 0.8, 2])
    def test_a_json_schema_is_filled_and_ended(self, demo_engine: str, temperature: float) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "mood", "strict": True, "schema": SCHEMA}}
        moods, sures = set(), set()
        for seed in range(12):
            body = chat("Mood?", response_format=form, temperature=temperature, seed=seed, max_tokens=400)
            choice = post(demo_engine, "/chat/completions", body)["choices"][0]
            assert choice["finish_reason"] == "stop", choice
            value = json.loads(choice["message"]["content"])
            assert set(value) == set(SCHEMA["required"])
            assert value["mood"] in ("happy", "sad", "été", "two words") and isinstance(value["sure"], bool)
            assert len(value["code"]) >= 30 and len(value["tags"]) >= 2
            moods.add(value["mood"])
            sures.add(value["sure"])
        assert temperature == 0 or (len(moods) > 1 and len(sures) == 2)

    def test_a_json_object_is_ended(self, demo_engine: str) -> None:
        for seed in range(10):
            body = chat("JSON", response_format={"type": "json_object"}, seed=seed, max_tokens=200)
            choice = post(demo_engine, "/chat/completions", body)["choices"][0]
            assert choice["finish_reason"] == "stop" and isinstance(json.loads(choice["message"]["content"]), dict)

    @pytest.mark.parametrize("temperature", [0, 0.8, 2])
    def test_a_required_tool_call_is_made_once_and_is_valid(self, demo_engine: str, temperature: float) -> None:
        for seed, prompt in enumerate(PROMPTS):
            body = chat(prompt, tools=[TOOL], tool_choice="required", temperature=temperature, seed=seed)
            choice = post(demo_engine, "/chat/completions", body | {"max_tokens": 400})["choices"][0]
            assert choice["finish_reason"] == "tool_calls", choice
            (call,) = choice["message"]["tool_calls"]
            assert call["function"]["name"] == "get_weather"
            _is_weather(json.loads(call["function"]["arguments"]))

    def test_a_required_tool_call_is_streamed(self, demo_engine: str) -> None:
        body = chat("Weather?", tools=[TOOL], tool_choice="required", max_tokens=400)
        events = [data for _, data in stream(demo_engine, "/chat/completions", body)]
        deltas = [json.loads(data)["choices"][0] for data in events[:-1]]
        calls = [call for choice in deltas for call in choice["delta"].get("tool_calls") or []]
        assert calls[0]["id"] and calls[0]["function"]["name"] == "get_weather"
        _is_weather(json.loads("".join(call["function"].get("arguments", "") for call in calls)))
        assert deltas[-1]["finish_reason"] == "tool_calls"

    @pytest.mark.parametrize("choice", [{}, {"tool_choice": "auto"}, {"tool_choice": "none"}])
    def test_an_offered_tool_is_never_called_of_its_own_accord(self, demo_engine: str, choice: dict[str, str]) -> None:
        for seed, prompt in enumerate(PROMPTS):
            body = chat(prompt, tools=[TOOL], seed=seed, temperature=2, **choice) | {"max_tokens": 300}
            answered = post(demo_engine, "/chat/completions", body)["choices"][0]
            assert answered["finish_reason"] == "stop"
            assert answered["message"]["content"].strip() and not answered["message"].get("tool_calls")


def _is_weather(arguments: dict[str, Any]) -> None:
    assert {"city", "unit"} <= set(arguments) <= {"city", "unit", "days"}
    assert isinstance(arguments["city"], str) and arguments["unit"] in ("celsius", "fahrenheit")


class TestOtherDialects:
    pytestmark = real

    def test_messages(self, demo_engine: str) -> None:
        body = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "Hi"}], "system": "Be kind."}
        answer = post(demo_engine, "/messages", body)
        assert (answer["type"], answer["role"], answer["stop_reason"]) == ("message", "assistant", "max_tokens")
        assert answer["content"][0]["text"].strip() and answer["usage"]["output_tokens"] == 8
        assert post(demo_engine, "/messages/count_tokens", body)["input_tokens"] > 8

    def test_messages_streamed(self, demo_engine: str) -> None:
        body = {"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": "Hi"}]}
        events = stream(demo_engine, "/messages", body)
        assert [name for name, _ in events] == [
            *("message_start", "content_block_start", "content_block_delta", "content_block_delta"),
            *("content_block_delta", "content_block_stop", "message_delta", "message_stop"),
        ]
        assert all(json.loads(data)["type"] == name for name, data in events)

    def test_messages_with_a_tool(self, demo_engine: str) -> None:
        tool = {"name": "get_weather", "description": "The weather", "input_schema": WEATHER}
        body = {"model": "m", "max_tokens": 400, "messages": [{"role": "user", "content": "Hi"}], "tools": [tool]}
        answer = post(demo_engine, "/messages", body | {"tool_choice": {"type": "any"}})
        assert answer["stop_reason"] == "tool_use"
        (use,) = (block for block in answer["content"] if block["type"] == "tool_use")
        _is_weather(use["input"])

    def test_responses(self, demo_engine: str) -> None:
        body = {"model": "m", "input": "Hi", "max_output_tokens": 6}
        answer = post(demo_engine, "/responses", body)
        assert answer["object"] == "response" and answer["output"][0]["content"][0]["text"].strip()
        names = [name for name, _ in stream(demo_engine, "/responses", body)]
        assert names[0] == "response.created" and names[-1] == "response.completed"
        assert names.count("response.output_text.delta") == 6


# --- the process -----------------------------------------------------------------------------------------------------


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


async def until_async(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo_model.ensure(tmp_path_factory.mktemp("home"))


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Runs a coroutine to its end on a loop of each kind; the gateway's is uvloop."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_on(coroutine: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(coroutine)

    yield run_on


Run = Callable[[Coroutine[Any, Any, None]], None]


class TestProcess:
    pytestmark = real

    def test_starts_answers_and_stops(self, run: Run, model: Path) -> None:
        async def scenario() -> None:
            events: list[EngineEvent] = []
            engine = EmbeddedEngine(model, emit=events.append, slots=1)
            await engine.start()
            (started,) = events
            assert isinstance(started, EngineStarted)
            assert (started.pid, started.port) == (engine.pid, engine.port)
            assert engine.base_url == f"http://127.0.0.1:{engine.port}/v1"
            answer = await asyncio.to_thread(post, engine.base_url, "/chat/completions", chat("Hi"))
            assert answer["model"] == "headgate-demo"
            await engine.stop()
            await engine.stop()
            assert not answers(engine.port)
            assert events == [started], "a stop that was asked for is no exit"

        run(scenario())

    def test_a_killed_child_is_started_again_at_the_same_address(self, run: Run, model: Path) -> None:
        async def scenario() -> None:
            events: list[EngineEvent] = []
            engine = EmbeddedEngine(model, emit=events.append, slots=1, backoff=Backoff(first_s=0.05))
            await engine.start()
            first, port = engine.pid, engine.port
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until_async(lambda: len(events) == 3)
            _, exited, again = events
            assert isinstance(exited, EngineExited) and isinstance(again, EngineStarted)
            assert (exited.pid, exited.code, exited.signal, exited.restart_in_s) == (first, None, signal.SIGKILL, 0.05)
            assert again.pid == engine.pid != first and again.port == port
            assert answers(port)
            await engine.stop()

        run(scenario())

    def test_stop_while_waiting_to_start_again_returns_at_once(self, run: Run, model: Path) -> None:
        async def scenario() -> None:
            events: list[EngineEvent] = []
            engine = EmbeddedEngine(model, emit=events.append, slots=1, backoff=Backoff(first_s=600, most_s=600))
            await engine.start()
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGKILL)
            await until_async(lambda: len(events) == 2)
            async with asyncio.timeout(5):
                await engine.stop()
            assert len(events) == 2

        run(scenario())

    def test_a_child_that_does_not_heed_sigterm_is_killed(self, run: Run, model: Path) -> None:
        async def scenario() -> None:
            engine = EmbeddedEngine(model, emit=lambda _: None, slots=1, stop_within_s=0.2)
            await engine.start()
            assert engine.pid is not None
            os.kill(engine.pid, signal.SIGSTOP)  # a stopped process handles no SIGTERM
            async with asyncio.timeout(10):
                await engine.stop()
            assert not answers(engine.port)

        run(scenario())

    def test_a_start_that_fails_says_why(self, run: Run, tmp_path: Path) -> None:
        async def scenario() -> None:
            broken = tmp_path / "broken.gguf"
            broken.write_bytes(b"GGUF nonsense")
            for path, reason in ((broken, "llama.cpp did not start"), (tmp_path / "none.gguf", "no model file")):
                with pytest.raises(EngineFault, match=reason):
                    await EmbeddedEngine(path, emit=lambda _: None).start()

        run(scenario())

    def test_the_child_goes_when_the_gateway_is_killed(self, model: Path) -> None:
        code = """
import asyncio, pathlib, sys
from headgate.engines.process import EmbeddedEngine
async def main():
    engine = EmbeddedEngine(pathlib.Path(sys.argv[1]), emit=lambda event: None, slots=1)
    await engine.start()
    print(engine.port, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
        gateway = subprocess.Popen([sys.executable, "-c", code, str(model)], stdout=subprocess.PIPE, text=True)
        assert gateway.stdout is not None
        port = int(gateway.stdout.readline())
        assert answers(port)
        gateway.kill()
        gateway.communicate()
        until(lambda: not answers(port), within_s=5)


def _refusal(*arguments: str) -> tuple[int, str]:
    """Exit status and stderr of a program that ends by itself, its standard input held open."""
    with subprocess.Popen(
        [sys.executable, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        stderr = process.stderr.read()
    return process.returncode, stderr


class TestProgram:
    @pytest.mark.real
    @needs_engine
    def test_a_taken_port_is_told_in_one_line(self, model: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            status, stderr = _refusal("-m", "headgate.engines.embedded", "--model", str(model), "--port", port)
        assert status == EXIT_PORT_TAKEN
        assert stderr.count("\n") == 1 and "is taken" in stderr

    def test_a_missing_wheel_is_told_in_one_line(self, model: Path) -> None:
        code = (
            "import sys; sys.modules['xllamacpp'] = None\nfrom headgate.engines.embedded import main\nsys.exit(main())"
        )
        status, stderr = _refusal("-c", code, "--model", str(model), "--port", "1")
        assert status == EXIT_FAILED
        assert stderr.count("\n") == 1 and "headgate[local]" in stderr

    @pytest.mark.real
    @needs_engine
    def test_it_leaves_when_its_input_ends(self, model: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "headgate.engines.embedded", "--model", str(model), "--port", str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            until(lambda: answers(port))
            assert process.stdin is not None and process.stderr is not None
            process.stdin.close()
            assert process.wait(timeout=10) == 0
            assert process.stderr.read().count(b"\n") < 10, "quiet"


class TestNouns:
    def test_backoff_doubles_up_to_its_bound(self) -> None:
        backoff = Backoff(first_s=1, most_s=6)
        assert [backoff.failed(now) for now in range(5)] == [1, 2, 4, 6, 6]

    def test_backoff_forgives_after_a_long_run(self) -> None:
        backoff = Backoff(first_s=1, most_s=60, forgiven_after_s=10)
        assert [backoff.failed(0), backoff.failed(0)] == [1, 2]
        backoff.started(100)
        assert backoff.failed(109.9) == 4, "too short a run"
        backoff.started(200)
        assert backoff.failed(210) == 1
        assert backoff.failed(10_000) == 2, "time that it did not run forgives nothing"

    def test_backoff_stays_at_its_bound_for_ever(self) -> None:
        backoff = Backoff(failures=10**9)
        assert backoff.failed(0) == backoff.most_s

    def test_our_own_last_line_says_why_whatever_llama_cpp_writes_after_it(self) -> None:
        tail = Tail()
        tail.feed(b"loading\n0.0 headgate embedded engine: no model file\nE srv init: exiting\n")
        assert tail.last() == "headgate embedded engine: no model file"

    def test_the_tail_joins_what_came_in_parts_and_keeps_the_last_lines(self) -> None:
        tail = Tail()
        for byte in b"one\r\ntwo \xff\n\nthr":
            tail.feed(bytes([byte]))
        assert list(tail.lines) == ["one", "two \ufffd"]
        tail.close()
        assert tail.last() == "thr"
        tail.feed(b"".join(b"%d\n" % number for number in range(1000)))
        assert len(tail.lines) == TAIL_LINES and tail.last() == "999"

    def test_a_line_without_end_is_cut(self) -> None:
        tail = Tail()
        for _ in range(1000):
            tail.feed(b"x" * 1000)
        tail.feed(b"\n")
        assert tail.last() == "x" * 2000

    def test_the_child_gets_no_keys(self) -> None:
        given = {"PATH": "/bin", "OPENAI_API_KEY": "sk", "HEADGATE_ADMIN_KEY": "k", "CUDA_VISIBLE_DEVICES": "0"}
        assert _environment(given) == {"PATH": "/bin", "CUDA_VISIBLE_DEVICES": "0"}
