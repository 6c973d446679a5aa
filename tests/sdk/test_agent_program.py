"""A real agent program, the OpenAI Agents SDK, doing a small task with tools on an upstream of every dialect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from agents import Agent, Model, OpenAIChatCompletionsModel, OpenAIResponsesModel, RunConfig, Runner, function_tool

from gateway.running import PROVIDER_KEY, provider
from headgate.testing import ScriptedUpstream, Vendor
from sdk.test_any_sdk_to_any_model import HEARD, MODEL, SPOKEN, loop

CONFIG = RunConfig(tracing_disabled=True)


@pytest.fixture(params=SPOKEN)
def running(gateway, request) -> Iterator:
    with ScriptedUpstream(otherwise=Vendor(keys=[PROVIDER_KEY], turn=loop)) as up:
        kind = "anthropic" if request.param == "anthropic.messages" else "openai"
        yield gateway(provider(up, kind=kind, models=[MODEL], dialects=[request.param]))
    assert up.malformed == []


@pytest.fixture(params=[OpenAIResponsesModel, OpenAIChatCompletionsModel], ids=["responses", "chat"])
async def agent(running, request) -> AsyncIterator[Agent]:
    def read_gauge(place: str) -> str:
        """Reads the gauge at a place."""
        return f"read_gauge {place}"

    def open_gate(place: str) -> str:
        """Opens the gate at a place."""
        return f"open_gate {place}"

    async with openai.AsyncOpenAI(base_url=running.base_url, api_key="none", max_retries=0) as client:
        model: Model = request.param(MODEL, client)
        yield Agent(
            "keeper",
            instructions="You keep a mill.",
            tools=[function_tool(read_gauge), function_tool(open_gate)],
            model=model,
        )


async def test_the_agent_finishes_its_task(agent):
    result = await Runner.run(agent, "Keep the water even.", run_config=CONFIG)
    assert result.final_output == HEARD


async def test_the_agent_finishes_its_task_streamed(agent):
    result = Runner.run_streamed(agent, "Keep the water even.", run_config=CONFIG)
    kinds = {event.type async for event in result.stream_events()}
    assert result.final_output == HEARD and "raw_response_event" in kinds
