"""langgraph: graphs and agents of langchain's models."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

import batchq
from tests.clients.both import Both, Journey

# One that takes tools on /v1/chat/completions without more ado.
MODEL = "gpt-4.1-mini"


@tool
def weather(city: str) -> str:
    """Says how the weather is."""
    return f"It rains in {city}."


def graph() -> StateGraph:
    """A model and its tools, in a loop."""

    def think(state: MessagesState) -> MessagesState:
        model = ChatOpenAI(model=MODEL).bind_tools([weather])
        return {"messages": [model.invoke(state["messages"])]}

    built = StateGraph(MessagesState)
    built.add_node("think", think)
    built.add_node("tools", ToolNode([weather]))
    built.add_edge(START, "think")
    built.add_conditional_edges("think", tools_condition, {"tools": "tools", END: END})
    built.add_edge("tools", "think")
    return built


QUESTION = {"messages": [("user", "The weather of Paris.")]}


def test_an_agent(both: Both) -> None:
    """agents with tools"""

    def body() -> str:
        return str(graph().compile().invoke(QUESTION)["messages"][-1].content)

    both.same(body, prompts=2, rounds=2)


def test_branches(both: Both) -> None:
    """branches side by side share a round"""

    def body() -> list[str]:
        def branch(side: str) -> Callable[[MessagesState], MessagesState]:
            def node(_: MessagesState) -> MessagesState:
                return {"messages": [ChatOpenAI(model=MODEL).invoke(f"Say what is {side}.")]}

            return node

        built = StateGraph(MessagesState)
        for side in ("good", "bad"):
            built.add_node(side, branch(side))
            built.add_edge(START, side)
        said = built.compile().invoke({"messages": []})["messages"]
        return [str(message.content) for message in said]

    both.same(body, prompts=2, rounds=1)


def test_memory_that_each_run_makes_for_itself(both: Both) -> None:
    """a checkpointer that the body makes"""

    def body() -> int:
        compiled = graph().compile(checkpointer=InMemorySaver())
        thread = {"configurable": {"thread_id": "user-7"}}
        return len(compiled.invoke(QUESTION, thread)["messages"])

    both.same(body, prompts=2, rounds=2)


def test_memory_outside_the_body_asks_more(both: Both) -> None:
    """What docs/clients.md says of memory: the runs that asked leave their trace in it."""
    memory = InMemorySaver()

    def body() -> int:
        compiled = graph().compile(checkpointer=memory)
        thread = {"configurable": {"thread_id": "user-7"}}
        return len(compiled.invoke(QUESTION, thread)["messages"])

    with pytest.raises(AssertionError):
        assert both.journey(body) == Journey(result=4, prompts=2, rounds=2)


def test_the_pattern_that_keeps_memory(both: Both) -> None:
    """memory outside, read in `batchq.once`"""
    memory: dict[str, list[dict[str, str]]] = {
        "user-7": [{"role": "user", "content": "I like tea."}]
    }

    def body(user: str) -> int:
        before = batchq.once(lambda: list(memory.get(user, [])))
        asked = [*before, {"role": "user", "content": "The weather of Paris."}]
        said = graph().compile().invoke({"messages": asked})["messages"]
        memory[user] = [*asked, {"role": "assistant", "content": str(said[-1].content)}]
        return len(said)

    assert both.journey(body, "user-7") == Journey(result=5, prompts=2, rounds=2)
    assert len(memory["user-7"]) == 3
