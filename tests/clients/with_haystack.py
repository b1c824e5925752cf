"""Haystack: generators, embedders, agents, in pipelines."""

from __future__ import annotations

from haystack import Document, Pipeline
from haystack.components.agents import Agent
from haystack.components.builders import ChatPromptBuilder
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import tool

from tests.clients.both import Both

# One that takes tools on /v1/chat/completions without more ado.
MODEL = "gpt-4.1-mini"

TEXT = "Bread is dear."


@tool
def weather(city: str) -> str:
    """Says how the weather is."""
    return f"It rains in {city}."


def test_a_pipeline(both: Both) -> None:
    """completions in a pipeline"""

    def body(text: str) -> str:
        pipeline = Pipeline()
        template = [ChatMessage.from_user("Say what is true: {{text}}")]
        pipeline.add_component("prompt", ChatPromptBuilder(template=template))
        pipeline.add_component("llm", OpenAIChatGenerator(model=MODEL))
        pipeline.connect("prompt.prompt", "llm.messages")
        return str(pipeline.run({"prompt": {"text": text}})["llm"]["replies"][0].text)

    both.same(body, TEXT, prompts=1, rounds=1)


def test_an_agent(both: Both) -> None:
    """agents with tools"""

    def body(text: str) -> str:
        agent = Agent(chat_generator=OpenAIChatGenerator(model=MODEL), tools=[weather])
        return str(agent.run(messages=[ChatMessage.from_user(text)])["last_message"].text)

    both.same(body, "The weather of Paris.", prompts=2, rounds=2)


def test_embeddings(both: Both) -> None:
    """embeddings"""

    def body(text: str) -> list[float]:
        return list(OpenAITextEmbedder(dimensions=8).run(text=text)["embedding"])

    both.same(body, TEXT, prompts=1, rounds=1)


def test_embeddings_of_documents(both: Both) -> None:
    """embeddings of documents (a round for each `batch_size`)"""

    def body() -> int:
        embedder = OpenAIDocumentEmbedder(dimensions=8, batch_size=2, progress_bar=False)
        documents = [Document(content=text) for text in ("one", "two", "three", "four")]
        return len(embedder.run(documents=documents)["documents"])

    both.same(body, prompts=2, rounds=2)


def test_a_stream(both: Both) -> None:
    """streams"""

    def body(text: str) -> str:
        pieces: list[str] = []
        generator = OpenAIChatGenerator(
            model=MODEL, streaming_callback=lambda piece: pieces.append(piece.content)
        )
        said = generator.run(messages=[ChatMessage.from_user(text)])["replies"][0].text
        assert said == "".join(pieces)
        return str(said)

    both.same(body, TEXT, prompts=1, rounds=1)
