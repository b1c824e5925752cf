"""Which clients are tried, where, and what their users have to set."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CLIENTS", "ENVIRONMENTS", "ROUNDS", "Client"]

#: Each is a virtual environment `.venv-clients-<name>`, made of tests/clients/<name>.in.
ENVIRONMENTS = ("openai3", "openai2", "instructor")

ROUNDS = "with_rounds.py"
"""What measures the second table; it runs in the first environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A row for each environment. ``package`` is the distribution whose version the row says."""

    name: str
    package: str
    file: str
    environments: tuple[str, ...] = ("openai3",)
    to_set: str = ""


CLIENTS = (
    Client(
        name="Instructor",
        package="instructor",
        file="with_instructor.py",
        environments=("instructor", "openai2"),
    ),
    Client(
        name="LangChain",
        package="langchain-openai",
        file="with_langchain.py",
        to_set="no `set_llm_cache` ([why](#memory-outside-the-body))",
    ),
    Client(
        name="LangGraph",
        package="langgraph",
        file="with_langgraph.py",
        to_set="no checkpointer that outlives the body ([why](#memory-outside-the-body))",
    ),
    Client(name="Pydantic AI", package="pydantic-ai-slim", file="with_pydantic_ai.py"),
    Client(
        name="OpenAI Agents SDK",
        package="openai-agents",
        file="with_openai_agents.py",
        to_set="a session that the body makes ([why](#memory-outside-the-body)); "
        "`set_tracing_disabled(True)`, or its traces are sent to OpenAI in every run",
    ),
    Client(
        name="LiteLLM",
        package="litellm",
        file="with_litellm.py",
        to_set="no `litellm.cache`; another provider's `api_base` is an account of its own",
    ),
    Client(
        name="DSPy",
        package="dspy",
        file="with_dspy.py",
        to_set="`cache=False`, `caching=False` ([why](#memory-outside-the-body))",
    ),
    Client(
        name="LlamaIndex",
        package="llama-index-llms-openai",
        file="with_llama_index.py",
        environments=("openai2",),
        to_set="`OPENAI_API_BASE`, where you set `OPENAI_BASE_URL`: it does not read that",
    ),
    Client(name="Haystack", package="haystack-ai", file="with_haystack.py"),
    Client(name="Semantic Kernel", package="semantic-kernel", file="with_semantic_kernel.py"),
    Client(
        name="CrewAI",
        package="crewai",
        file="with_crewai.py",
        environments=("openai2",),
        to_set="`CREWAI_DISABLE_TELEMETRY=true`",
    ),
    Client(name="smolagents", package="smolagents", file="with_smolagents.py"),
    Client(
        name="Langfuse",
        package="langfuse",
        file="with_langfuse.py",
        to_set="[the lines for Langfuse](watchers.md#langfuse)",
    ),
    Client(
        name="Sentry",
        package="sentry-sdk",
        file="with_sentry.py",
        to_set="[the lines for Sentry](watchers.md#sentry)",
    ),
    Client(
        name="Datadog",
        package="ddtrace",
        file="with_ddtrace.py",
        to_set="[the lines for Datadog](watchers.md#datadog)",
    ),
    Client(
        name="OpenInference",
        package="openinference-instrumentation-openai",
        file="with_openinference.py",
        to_set="[the lines for OpenTelemetry](watchers.md#opentelemetry-and-openinference)",
    ),
)
