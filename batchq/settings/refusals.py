"""Calls that are known to be refused, or to fail, when their batch runs: told at the call instead.

A table, with where each was seen. What a provider takes may change: `batchq_known_refusals` turns
an entry off by its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from batchq.settings.expiring import url_that_expires

__all__ = ["REFUSALS", "WINDOW", "Refusal", "known_refusal"]

WINDOW = timedelta(hours=24)
"""How long a provider may take for a batch."""

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """``finds`` gives the parameter of a body that is refused, if there is one; it is told until
    when what the body names has to live. ``code`` is the provider's own word.
    """

    name: str
    endpoints: frozenset[str]
    finds: Callable[[Body, datetime], str | None]
    words: str
    code: str
    source: str
    seen: str

    def __str__(self) -> str:
        return f"{self.words} ({self.source}, {self.seen})"


def known_refusal(
    endpoint: str, body: Body, *, off: Container[str] = (), wait: timedelta = timedelta(0)
) -> tuple[Refusal, str] | None:
    """The entry that a request meets, and the parameter it is about.

    ``off`` are names of entries that do not count; ``wait`` is how long it may lie in its lane.
    """
    until = datetime.now(UTC) + wait + WINDOW
    for refusal in REFUSALS:
        if refusal.name not in off and endpoint in refusal.endpoints:
            param = refusal.finds(body, until)
            if param is not None:
                return refusal, param
    return None


# What is looked for

_BEFORE = r"([\w.-]+/)*(ft:)?"
"""What may stand before a model's name: a gateway's path to it, and that it is fine-tuned."""
_REASONS_BY_ITSELF = re.compile(_BEFORE + r"gpt-5\.6(?![\d.])(?!.*-chat)")
_REASONS_IF_TOLD = re.compile(_BEFORE + r"gpt-5\.[45](?![\d.])(?!.*-chat)")
_REASONS = re.compile(_BEFORE + r"(o[1-9]|gpt-5)(?!\d)(?!.*-chat)")
"""Those it was seen with; the models for ChatGPT, with -chat in their name, do not reason."""


def _tools_with_reasoning(body: Body, _until: datetime) -> str | None:
    effort = body.get("reasoning_effort")
    model = str(body.get("model"))
    reasons = _REASONS_BY_ITSELF.match(model) or (effort and _REASONS_IF_TOLD.match(model))
    refused = reasons and effort != "none" and _has_function_tools(body)
    return "reasoning_effort" if refused else None


def _has_function_tools(body: Body) -> bool:
    given = body.get("tools")
    tools = cast("list[object]", given) if isinstance(given, list) else []
    return any(
        cast("Body", tool).get("type") == "function" for tool in tools if isinstance(tool, dict)
    )


def _max_tokens(body: Body, _until: datetime) -> str | None:
    refused = body.get("max_tokens") is not None and _REASONS.match(str(body.get("model")))
    return "max_tokens" if refused else None


def _background(body: Body, _until: datetime) -> str | None:
    return "background" if body.get("background") else None


_CHAT = frozenset({"/v1/chat/completions"})
_RESPONSES = frozenset({"/v1/responses"})

REFUSALS = (
    Refusal(
        name="tools_with_reasoning",
        endpoints=_CHAT,
        finds=_tools_with_reasoning,
        words=(
            "this model takes function tools on /v1/chat/completions only with "
            'reasoning_effort="none"; set that, or ask by client.responses'
        ),
        code="invalid_request_error",
        source="https://github.com/BerriAI/litellm/pull/34569 and "
        "https://github.com/openai/openai-openapi/issues/541",
        seen="2026-07-24",
    ),
    Refusal(
        name="max_tokens",
        endpoints=_CHAT,
        finds=_max_tokens,
        words="a model that reasons takes max_completion_tokens and refuses max_tokens",
        code="unsupported_parameter",
        source="https://github.com/jeremychone/rust-genai/issues/139",
        seen="2026-02-01",
    ),
    Refusal(
        name="background",
        endpoints=_RESPONSES,
        finds=_background,
        words=(
            "background=True is answered with a response that has no output yet, to be asked for "
            "again, and a batch line is answered once; leave it out, for a batch runs in the "
            "background anyway"
        ),
        code="unsupported_parameter",
        source="https://developers.openai.com/docs/guides/background",
        seen="2026-11-28",
    ),
    Refusal(
        name="expiring_url",
        endpoints=_CHAT
        | _RESPONSES
        | {"/v1/images/edits", "/v1/images/generations", "/v1/moderations", "/v1/videos"},
        finds=url_that_expires,
        words=(
            "it has a signed URL that expires before the 24 hours of a batch are over, and what is "
            "behind it could not be read then; sign it for longer, upload the file and name its "
            "id, or send the content itself"
        ),
        code="invalid_image_url",
        source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/"
        "using-presigned-url.html and https://developers.openai.com/docs/guides/batch",
        seen="2026-11-28",
    ),
)
"""What a refused request is told, and since when that is known. The first that fits counts."""
