"""smolagents: its OpenAIModel is the SDK."""

from __future__ import annotations

from smolagents import OpenAIModel, Tool, ToolCallingAgent

from tests.clients.both import Both

# One that takes tools on /v1/chat/completions without more ado.
MODEL = "gpt-4.1-mini"


class Weather(Tool):
    name = "weather"
    description = "Says how the weather is."
    inputs = {"city": {"type": "string", "description": "where"}}  # noqa: RUF012 as it wants it
    output_type = "string"

    def forward(self, city: str) -> str:
        return f"It rains in {city}."


def model() -> OpenAIModel:
    return OpenAIModel(model_id=MODEL)


def test_a_completion(both: Both) -> None:
    """completions"""

    def body(text: str) -> str:
        message = model()([{"role": "user", "content": [{"type": "text", "text": text}]}])
        return str(message.content)

    both.same(body, "Bread is dear.", prompts=1, rounds=1)


def test_an_agent(both: Both) -> None:
    """agents with tools"""

    def body(text: str) -> str:
        agent = ToolCallingAgent(tools=[Weather()], model=model(), verbosity_level=0)
        return str(agent.run(text))

    both.same(body, "The weather of Paris.", prompts=2, rounds=2)
