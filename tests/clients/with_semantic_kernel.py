"""Semantic Kernel: chat completions, functions, embeddings."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from semantic_kernel import Kernel
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import (
    OpenAIChatCompletion,
    OpenAIChatPromptExecutionSettings,
    OpenAIEmbeddingPromptExecutionSettings,
    OpenAITextEmbedding,
)
from semantic_kernel.contents import ChatHistory
from semantic_kernel.functions import kernel_function

from tests.capture.bench import MODEL
from tests.clients.both import Both

TEXT = "Bread is dear."


class Label(BaseModel):
    name: str


class Weather:
    @kernel_function(description="Says how the weather is.")
    def weather(self, city: str) -> str:
        return f"It rains in {city}."


async def said_of(text: str, **options: object) -> str:
    history = ChatHistory()
    history.add_user_message(text)
    service = OpenAIChatCompletion(ai_model_id=MODEL)
    settings = OpenAIChatPromptExecutionSettings(**options)
    return str(await service.get_chat_message_content(history, settings, kernel=Kernel()))


def test_a_completion(both: Both) -> None:
    """completions"""

    def body(text: str) -> str:
        return asyncio.run(said_of(text))

    both.same(body, TEXT, prompts=1, rounds=1)


def test_structured_output(both: Both) -> None:
    """structured output"""

    def body(text: str) -> str:
        return Label.model_validate_json(asyncio.run(said_of(text, response_format=Label))).name

    both.same(body, TEXT, prompts=1, rounds=1)


def test_an_agent(both: Both) -> None:
    """agents with functions"""

    def body(text: str) -> str:
        service = OpenAIChatCompletion(ai_model_id=MODEL)
        agent = ChatCompletionAgent(service=service, name="Plain", plugins=[Weather()])
        return str(asyncio.run(agent.get_response(messages=text)))

    both.same(body, "The weather of Paris.", prompts=2, rounds=2)


def test_embeddings(both: Both) -> None:
    """embeddings"""

    def body(text: str) -> list[float]:
        service = OpenAITextEmbedding(ai_model_id="text-embedding-3-small")
        settings = OpenAIEmbeddingPromptExecutionSettings(dimensions=8)
        made = asyncio.run(service.generate_embeddings([text], settings))
        return [float(number) for number in made[0]]

    both.same(body, TEXT, prompts=1, rounds=1)
