"""langchain-openai: chat models, structured output, tools, embeddings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import litellm
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from tests.clients.both import Both

# One that takes tools on /v1/chat/completions without more ado.
MODEL = "gpt-4.1-mini"

TEXTS = ["Bread is dear.", "Milk is cheap.", "Salt is salt."]


class Label(BaseModel):
    name: str


@tool
def weather(city: str) -> str:
    """Says how the weather is."""
    return f"It rains in {city}."


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings count their tokens with a table that tiktoken downloads, and litellm brings."""
    tables = Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tables))


def test_a_completion(both: Both) -> None:
    """completions"""

    def body(text: str) -> str:
        return str(ChatOpenAI(model=MODEL).invoke(text).content)

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_the_responses_api(both: Both) -> None:
    """the Responses API"""

    def body(text: str) -> str:
        return str(ChatOpenAI(model=MODEL, use_responses_api=True).invoke(text).text)

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_structured_output(both: Both) -> None:
    """structured output"""

    def body(text: str) -> str:
        label = ChatOpenAI(model=MODEL).with_structured_output(Label).invoke(text)
        assert isinstance(label, Label)
        return label.name

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_a_tool(both: Both) -> None:
    """tools"""

    def body(text: str) -> str:
        model = ChatOpenAI(model=MODEL).bind_tools([weather])
        called = model.invoke(text)
        told = [weather.invoke(call) for call in called.tool_calls]
        return str(model.invoke([("user", text), called, *told]).content)

    both.same(body, "The weather of Paris.", prompts=2, rounds=2)


def test_a_batch_of_its_own(both: Both) -> None:
    """`abatch`"""

    def body() -> list[str]:
        return [str(said.content) for said in asyncio.run(ChatOpenAI(model=MODEL).abatch(TEXTS))]

    both.same(body, prompts=3, rounds=1)


def test_threads(both: Both) -> None:
    """`batch`"""

    def body() -> list[str]:
        return [str(said.content) for said in ChatOpenAI(model=MODEL).batch(TEXTS)]

    both.same(body, prompts=3, rounds=1)


def test_embeddings(both: Both) -> None:
    """embeddings"""

    def body() -> list[list[float]]:
        return list(OpenAIEmbeddings(dimensions=8).embed_documents(TEXTS))

    both.same(body, prompts=1, rounds=1)


def test_a_stream(both: Both) -> None:
    """streams"""

    def body(text: str) -> str:
        return "".join(str(piece.content) for piece in ChatOpenAI(model=MODEL).stream(text))

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_its_cache(both: Both) -> None:
    """With its cache, no task gets another question's answer."""
    cached = ChatOpenAI(model=MODEL, cache=InMemoryCache())
    both.no_wrong_answer(
        lambda text: str(cached.invoke(text).content),
        uncached=lambda text: str(ChatOpenAI(model=MODEL).invoke(text).content),
    )
