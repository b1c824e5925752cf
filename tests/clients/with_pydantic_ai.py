"""Pydantic AI: agents on chat completions and on responses."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent, Embedder
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel

from tests.clients.both import Both

# One that takes tools on /v1/chat/completions without more ado.
MODEL = "gpt-4.1-mini"

TEXT = "The weather of Paris."


class Label(BaseModel):
    name: str


def weather(city: str) -> str:
    """Says how the weather is."""
    return f"It rains in {city}."


def test_a_completion(both: Both) -> None:
    """completions"""

    def body(text: str) -> str:
        return str(Agent(OpenAIChatModel(MODEL)).run_sync(text).output)

    both.same(body, TEXT, prompts=1, rounds=1)


def test_structured_output(both: Both) -> None:
    """structured output"""

    def body(text: str) -> str:
        labels = Agent(OpenAIChatModel(MODEL), output_type=Label)
        return str(labels.run_sync(text).output.name)

    both.same(body, TEXT, prompts=1, rounds=1)


def test_an_agent(both: Both) -> None:
    """agents with tools"""

    def body(text: str) -> str:
        return str(Agent(OpenAIChatModel(MODEL), tools=[weather]).run_sync(text).output)

    both.same(body, TEXT, prompts=2, rounds=2)


def test_an_agent_on_responses(both: Both) -> None:
    """agents on the Responses API"""

    def body(text: str) -> str:
        return str(Agent(OpenAIResponsesModel(MODEL), tools=[weather]).run_sync(text).output)

    both.same(body, TEXT, prompts=2, rounds=2)


def test_async(both: Both) -> None:
    """async, side by side"""

    async def one(text: str) -> str:
        return str((await Agent(OpenAIChatModel(MODEL)).run(text)).output)

    def body() -> list[str]:
        async def all_of_them() -> list[str]:
            return await asyncio.gather(*map(one, ("good", "bad", "so so")))

        return asyncio.run(all_of_them())

    both.same(body, prompts=3, rounds=1)


def test_embeddings(both: Both) -> None:
    """embeddings"""

    def body(text: str) -> list[float]:
        made = Embedder("openai:text-embedding-3-small", settings={"dimensions": 8})
        return list(made.embed_documents_sync([text]).embeddings[0])

    both.same(body, TEXT, prompts=1, rounds=1)


def test_a_stream(both: Both) -> None:
    """`run_stream`"""

    def body(text: str) -> str:
        async def streamed() -> str:
            async with Agent(OpenAIChatModel(MODEL)).run_stream(text) as said:
                return str(await said.get_output())

        return asyncio.run(streamed())

    both.same(body, TEXT, prompts=1, rounds=1)
