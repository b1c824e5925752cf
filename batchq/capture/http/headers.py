"""Which headers of a call a batch line may leave out: none of them changes the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["is_left_out"]

_OF_THE_REQUEST = frozenset(
    # The batch has its own of these.
    "accept accept-encoding api-key authorization cache-control connection content-length "
    "content-type host idempotency-key openai-organization openai-project origin pragma "
    "transfer-encoding user-agent "
    # A provider's own, from a live call before.
    "cookie "
    # Written by tracing tools for the one hop that does not happen here.
    "b3 baggage grpc-trace-bin newrelic sentry-trace sw8 sw8-correlation sw8-x traceresponse "
    "x-dynatrace x-ot-span-context".split()
)
_FAMILIES = (
    "x-stainless-",
    # Of tracing tools: Datadog, Zipkin, OpenTracing, Jaeger, Instana.
    *("x-datadog-", "x-b3-", "ot-tracer-", "ot-baggage-", "jaeger-", "uberctx-", "x-instana-"),
)

_TRACES = r"(activity|correlation|operation|request|session|span|trace|transaction)-?id"
_MORE_TRACES = r"traceparent|tracestate|trace-context"
_NAMES_THE_CLIENT = r"user-?agent|referr?er|title|api-client"
_OF_THE_CLIENT = (
    r"(app|application|client|lib|library|package|runtime|sdk)-(info|lang|name|version)"
)
_TELLS = re.compile(
    rf"(.*-)?({_TRACES}|{_MORE_TRACES}|{_NAMES_THE_CLIENT}|{_OF_THE_CLIENT})", re.IGNORECASE
)
"""By its last words a header says who calls, or which call it is."""

_OF_THE_ASKED = re.compile(r"(.*-)?(api|deployment|model|prompt|schema)-version")
_RELEASE = re.compile(r"([\w.-]+/)?v?\d+\.\d+\.\d+[\w.+-]*")


def is_left_out(name: str, value: str, ignored: Iterable[str]) -> bool:
    """True where a call may carry this header though no batch line does.

    ``ignored`` are names, and beginnings of names with a ``*`` behind.
    """
    name = name.lower()
    return (
        name in _OF_THE_REQUEST
        or name.startswith(_FAMILIES)
        or _TELLS.fullmatch(name) is not None
        or _is_release(name, value)
        or any(_matches(name, pattern) for pattern in ignored)
    )


def _is_release(name: str, value: str) -> bool:
    """The release of a library that calls, such as semantic-kernel-version: python/1.39.0.

    The version of an API, which may change the answer, is a date or a whole number.
    """
    if not name.endswith("-version") or _OF_THE_ASKED.fullmatch(name):
        return False
    return _RELEASE.fullmatch(value.strip()) is not None


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
