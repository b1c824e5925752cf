"""litellm: one function for all providers; OpenAI's goes through the SDK, or past it."""

from __future__ import annotations

import asyncio

import litellm
from pydantic import BaseModel

from tests.capture.bench import MODEL, user
from tests.clients.both import Both

TEXT = "Bread is dear."


class Label(BaseModel):
    name: str


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Says how the weather is.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def test_a_completion(both: Both) -> None:
    """completions"""

    def body(text: str) -> str:
        said = litellm.completion(model=f"openai/{MODEL}", messages=user(text))
        return str(said.choices[0].message.content)

    both.same(body, TEXT, prompts=1, rounds=1)


def test_structured_output(both: Both) -> None:
    """structured output"""

    def body(text: str) -> str:
        said = litellm.completion(
            model=f"openai/{MODEL}", messages=user(text), response_format=Label
        )
        return Label.model_validate_json(said.choices[0].message.content).name

    both.same(body, TEXT, prompts=1, rounds=1)


def test_a_tool(both: Both) -> None:
    """tools"""

    def body(text: str) -> str:
        said = litellm.completion(model="openai/gpt-4o-mini", messages=user(text), tools=[WEATHER])
        return str(said.choices[0].message.tool_calls[0].function.arguments)

    both.same(body, "The weather of Paris.", prompts=1, rounds=1)


def test_a_tool_and_reasoning(both: Both) -> None:
    """tools with reasoning (it asks `/v1/responses` past the SDK)"""

    def body(text: str) -> str:
        said = litellm.completion(
            model="openai/gpt-5.4", messages=user(text), tools=[WEATHER], reasoning_effort="low"
        )
        return str(said.choices[0].message.tool_calls[0].function.arguments)

    both.same(body, "The weather of Paris.", prompts=1, rounds=1)


def test_async(both: Both) -> None:
    """async, side by side"""

    async def one(text: str) -> str:
        said = await litellm.acompletion(model=f"openai/{MODEL}", messages=user(text))
        return str(said.choices[0].message.content)

    def body() -> list[str]:
        async def all_of_them() -> list[str]:
            return await asyncio.gather(*map(one, ("good", "bad", "so so")))

        return asyncio.run(all_of_them())

    both.same(body, prompts=3, rounds=1)


def test_embeddings(both: Both) -> None:
    """embeddings"""

    def body() -> list[float]:
        made = litellm.embedding(model="openai/text-embedding-3-small", input=[TEXT], dimensions=8)
        return list(made.data[0]["embedding"])

    both.same(body, prompts=1, rounds=1)


def test_the_responses_api(both: Both) -> None:
    """`litellm.responses` (past the SDK)"""

    def body(text: str) -> str:
        said = litellm.responses(model=f"openai/{MODEL}", input=text)
        return str(said.output[0].content[0].text)

    both.same(body, TEXT, prompts=1, rounds=1)


def test_a_stream(both: Both) -> None:
    """streams"""

    def body(text: str) -> str:
        pieces = litellm.completion(model=f"openai/{MODEL}", messages=user(text), stream=True)
        return "".join(piece.choices[0].delta.content or "" for piece in pieces)

    both.same(body, TEXT, prompts=1, rounds=1)


def test_another_provider(both: Both) -> None:
    """`hosted_vllm/` (past the SDK)"""

    def body(text: str) -> str:
        said = litellm.completion(
            model=f"hosted_vllm/{MODEL}",
            messages=user(text),
            api_base=both.emulator.url,
            api_key=both.emulator.api_key,
        )
        return str(said.choices[0].message.content)

    both.same(body, TEXT, prompts=1, rounds=1)
