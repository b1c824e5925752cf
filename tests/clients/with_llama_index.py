"""LlamaIndex: its OpenAI models and embeddings, its agents."""

from __future__ import annotations

import asyncio
import os

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses
from pydantic import BaseModel

from tests.clients.both import Both

MODEL = "gpt-4.1-mini"
TEXTS = ["Bread is dear.", "Milk is cheap.", "Salt is salt."]


@pytest.fixture(autouse=True)
def _its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not read OPENAI_BASE_URL."""
    monkeypatch.setenv("OPENAI_API_BASE", os.environ["OPENAI_BASE_URL"])


class Label(BaseModel):
    """A label."""

    name: str


def weather(city: str) -> str:
    """Says how the weather is."""
    return f"It rains in {city}."


def test_a_completion(both: Both) -> None:
    """completions"""

    def body(text: str) -> str:
        return str(OpenAI(model=MODEL).chat([ChatMessage(role="user", content=text)]))

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_the_responses_api(both: Both) -> None:
    """the Responses API"""

    def body(text: str) -> str:
        return str(OpenAIResponses(model=MODEL).chat([ChatMessage(role="user", content=text)]))

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_structured_output(both: Both) -> None:
    """structured output"""

    def body(text: str) -> str:
        model = OpenAI(model=MODEL).as_structured_llm(Label)
        return str(model.chat([ChatMessage(role="user", content=text)]).raw.name)

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_embeddings(both: Both) -> None:
    """embeddings"""

    def body() -> list[float]:
        made = OpenAIEmbedding(model="text-embedding-3-small", dimensions=8)
        return list(made.get_text_embedding_batch(TEXTS)[0])

    both.same(body, prompts=1, rounds=1)


def test_async(both: Both) -> None:
    """async, side by side"""

    async def one(text: str) -> str:
        return str(await OpenAI(model=MODEL).achat([ChatMessage(role="user", content=text)]))

    def body() -> list[str]:
        async def all_of_them() -> list[str]:
            return await asyncio.gather(*map(one, TEXTS))

        return asyncio.run(all_of_them())

    both.same(body, prompts=3, rounds=1)


def test_an_agent(both: Both) -> None:
    """agents (`streaming=False`)"""

    def body(text: str) -> str:
        async def answered() -> str:
            agent = FunctionAgent(tools=[weather], llm=OpenAI(model=MODEL), streaming=False)
            return str(await agent.run(text))

        return asyncio.run(answered())

    both.same(body, "The weather of Paris.", prompts=2, rounds=2)


def test_an_agent_that_streams(both: Both) -> None:
    """agents as they come (they stream)"""

    def body(text: str) -> str:
        async def answered() -> str:
            return str(await FunctionAgent(tools=[weather], llm=OpenAI(model=MODEL)).run(text))

        return asyncio.run(answered())

    both.same(body, "The weather of Paris.", prompts=2, rounds=2)
