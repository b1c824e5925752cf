"""The OpenAI Agents SDK: agents, tools, handoffs, sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_default_openai_client,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

import batchq
from tests.capture.bench import MODEL
from tests.clients.both import Both

TEXT = "The weather of Paris."

# Its traces would go to OpenAI, with whatever was asked.
set_tracing_disabled(True)


@pytest.fixture(autouse=True)
def _connections_of_its_own() -> None:
    """The client that it shares by default keeps connections of an event loop that has ended."""
    set_default_openai_client(AsyncOpenAI())


class Label(BaseModel):
    name: str


@function_tool
def weather(city: str) -> str:
    """Says how the weather is."""
    return f"It rains in {city}."


def agent() -> Agent:
    return Agent(name="Weather", instructions="Be brief.", model=MODEL, tools=[weather])


def test_an_agent(both: Both) -> None:
    """agents with tools"""

    def body(text: str) -> str:
        return str(Runner.run_sync(agent(), text).final_output)

    both.same(body, TEXT, prompts=2, rounds=2)


def test_chat_completions(both: Both) -> None:
    """chat completions"""

    def body(text: str) -> str:
        model = OpenAIChatCompletionsModel(model=MODEL, openai_client=AsyncOpenAI())
        return str(Runner.run_sync(Agent(name="Plain", model=model), text).final_output)

    both.same(body, TEXT, prompts=1, rounds=1)


def test_structured_output(both: Both) -> None:
    """structured output"""

    def body(text: str) -> str:
        labels = Agent(name="Labels", model=MODEL, output_type=Label)
        return str(Runner.run_sync(labels, text).final_output.name)

    both.same(body, TEXT, prompts=1, rounds=1)


def test_a_handoff(both: Both) -> None:
    """handoffs"""

    def body(text: str) -> str:
        second = Agent(name="Second", model=MODEL)
        first = Agent(name="First", model=MODEL, handoffs=[second])
        done = Runner.run_sync(first, text)
        return f"{done.last_agent.name}: {done.final_output}"

    both.same(body, TEXT, prompts=2, rounds=2)


def test_async(both: Both) -> None:
    """async, side by side"""

    async def one(text: str) -> str:
        return str((await Runner.run(Agent(name="Plain", model=MODEL), text)).final_output)

    def body() -> list[str]:
        async def all_of_them() -> list[str]:
            return await asyncio.gather(*map(one, ("good", "bad", "so so")))

        return asyncio.run(all_of_them())

    both.same(body, prompts=3, rounds=1)


def test_a_stream(both: Both) -> None:
    """`run_streamed`"""

    def body(text: str) -> str:
        async def streamed() -> str:
            running = Runner.run_streamed(Agent(name="Plain", model=MODEL), text)
            async for _ in running.stream_events():
                pass
            return str(running.final_output)

        return asyncio.run(streamed())

    both.same(body, TEXT, prompts=1, rounds=1)


def test_a_session_that_each_run_makes_for_itself(both: Both) -> None:
    """a session that the body makes"""

    def body(text: str) -> str:
        session = SQLiteSession("user-7")
        first = Runner.run_sync(agent(), text, session=session).final_output
        second = Runner.run_sync(agent(), "And in Rome?", session=session).final_output
        return f"{first} {second}"

    both.same(body, TEXT, prompts=3, rounds=3)


def test_the_pattern_that_keeps_a_session(both: Both, tmp_path: Path) -> None:
    """a session outside, read in `batchq.once`"""
    file = tmp_path / "sessions.sqlite"
    told = [{"role": "user", "content": "I like tea."}]
    asyncio.run(SQLiteSession("user-7", file).add_items(told))

    def body(text: str) -> str:
        kept = SQLiteSession("user-7", file)
        before = batchq.once(lambda: asyncio.run(kept.get_items()))
        done = Runner.run_sync(agent(), [*before, {"role": "user", "content": text}])
        # After the last call, so it happens once.
        asyncio.run(kept.add_items(done.to_input_list()[len(before) :]))
        return str(done.final_output)

    journey = both.journey(body, TEXT)
    assert (journey.prompts, journey.rounds, journey.live) == (2, 2, 0)
    kept = asyncio.run(SQLiteSession("user-7", file).get_items())
    kinds = [item.get("type", item.get("role")) for item in kept]
    assert kinds == ["user", "user", "function_call", "function_call_output", "message"]


def test_a_session_outside_asks_more(both: Both, tmp_path: Path) -> None:
    """What docs/clients.md says of sessions: a run that asked leaves its question in it."""
    file = tmp_path / "sessions.sqlite"

    def body(text: str) -> str:
        session = SQLiteSession("user-7", file)
        return str(Runner.run_sync(agent(), text, session=session).final_output)

    with pytest.raises((AssertionError, batchq.RequestChanged)):
        assert both.journey(body, TEXT).prompts == 2
