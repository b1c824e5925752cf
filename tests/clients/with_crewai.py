"""CrewAI: crews of agents, and its LLM by itself."""

from __future__ import annotations

import os

# Before it is imported: it tells its makers what it does, and asks questions at a terminal.
os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from pydantic import BaseModel

from tests.clients.both import Both

MODEL = "openai/gpt-4.1-mini"


class Label(BaseModel):
    name: str


@tool("weather")
def weather(city: str) -> str:
    """Says how the weather is."""
    return f"It rains in {city}."


def crew(**more: object) -> Crew:
    agent = Agent(
        role="Reporter",
        goal="Say how things are.",
        backstory="You look.",
        llm=LLM(model=MODEL),
        **more,
    )
    task = Task(description="The weather of Paris.", expected_output="Words.", agent=agent)
    return Crew(agents=[agent], tasks=[task])


def test_a_completion(both: Both) -> None:
    """completions"""

    def body(text: str) -> str:
        return str(LLM(model=MODEL).call(text))

    both.same(body, "Bread is dear.", prompts=1, rounds=1)


def test_a_crew(both: Both) -> None:
    """crews"""

    def body() -> str:
        return str(crew().kickoff().raw)

    both.same(body, prompts=1, rounds=1)


def test_a_crew_with_tools(both: Both) -> None:
    """crews with tools"""

    def body() -> str:
        return str(crew(tools=[weather]).kickoff().raw)

    both.same(body, prompts=2, rounds=2)


def test_structured_output(both: Both) -> None:
    """structured output"""

    def body(text: str) -> str:
        said = LLM(model=MODEL, response_format=Label).call(text)
        label = said if isinstance(said, Label) else Label.model_validate_json(said)
        return label.name

    both.same(body, "Bread is dear.", prompts=1, rounds=1)
