"""Instructor: structured output, tried again where it does not validate."""

from __future__ import annotations

import asyncio

import instructor
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, field_validator

from tests.capture.bench import user
from tests.clients.both import Both

# One that takes tools on /v1/chat/completions without more ado.
MODEL = "gpt-4.1-mini"

TEXTS = ["Bread is dear.", "Milk is cheap.", "Salt is salt."]
client = instructor.from_openai(OpenAI())
async_client = instructor.from_openai(AsyncOpenAI())


class Label(BaseModel):
    name: str


def test_structured_output(both: Both) -> None:
    """structured output"""

    def body(text: str) -> str:
        label = client.chat.completions.create(
            model=MODEL, messages=user(text), response_model=Label
        )
        return str(label.name)

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_json_schema(both: Both) -> None:
    """`Mode.JSON_SCHEMA`"""
    by_schema = instructor.from_openai(OpenAI(), mode=instructor.Mode.JSON_SCHEMA)

    def body(text: str) -> str:
        label = by_schema.create(model=MODEL, messages=user(text), response_model=Label)
        return str(label.name)

    both.same(body, TEXTS[0], prompts=1, rounds=1)


def test_async(both: Both) -> None:
    """async, side by side"""

    async def one(text: str) -> str:
        label = await async_client.create(model=MODEL, messages=user(text), response_model=Label)
        return str(label.name)

    def body() -> list[str]:
        async def all_of_them() -> list[str]:
            return await asyncio.gather(*map(one, TEXTS))

        return asyncio.run(all_of_them())

    both.same(body, prompts=3, rounds=1)


def test_a_retry(both: Both) -> None:
    """its own retries, one round each"""

    def body(text: str) -> str:
        tried = []

        class Second(BaseModel):
            name: str

            @field_validator("name")
            @classmethod
            def is_second(cls, name: str) -> str:
                tried.append(name)
                if len(tried) < 2:
                    raise ValueError("Say it in other words.")
                return name

        label = client.create(
            model=MODEL, messages=user(text), response_model=Second, max_retries=2
        )
        return str(label.name)

    both.same(body, TEXTS[0], prompts=2, rounds=2)


def test_partials(both: Both) -> None:
    """`create_partial` (a stream)"""

    def body(text: str) -> str:
        *_, last = client.create_partial(model=MODEL, messages=user(text), response_model=Label)
        return str(last.name)

    both.same(body, TEXTS[0], prompts=1, rounds=1)
