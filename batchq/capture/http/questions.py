"""From a call to the question that a batch line can ask; what it cannot is refused, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from batchq.capture.http.calls import Call, json_object
from batchq.capture.http.carried import extra_headers
from batchq.capture.http.streams import STREAMED
from batchq.capture.run import Question
from batchq.common.own_calls import bypass
from batchq.errors import KnownRefusal, NotBatchable
from batchq.prompt import fingerprint
from batchq.settings.matching import OWNERS, owner_of
from batchq.settings.refusals import known_refusal

if TYPE_CHECKING:
    from batchq.settings.account import Account

__all__ = ["key_of", "live_question_of", "question_of"]

_DEFAULT_MODEL = {"/v1/moderations": "omni-moderation-latest"}
"""Where the live API has a default and a batch wants a model on each line (API reference)."""

_NOT_ON_A_LINE = frozenset({"stream", "stream_options", "service_tier"})
"""OpenAI refuses a file for `stream: true` and takes no tier but its own."""


def question_of(call: Call, content: bytes) -> Question:
    """What a captured call asks. Raises, in words, what a batch line cannot carry."""
    with bypass():  # Of what the functions of accounts ask to get their keys.
        name, account = account_of(call)
        extra = extra_headers(call, name)
    endpoint = account.endpoint_of(call.url)
    if endpoint is None or call.method != "POST":
        raise _refused(call, "this endpoint has no batch")
    _check_owner(call, account)
    _check_extras(call, extra)
    body = json_object(content)
    if body is None:
        raise _refused(call, "a batch line carries JSON, and this call sends files or a form")
    _check_stream(call, endpoint, body)
    line = _line_of(call, account, endpoint, body)
    return replace(_build(name, endpoint, line), refused=_known_refusal(call, endpoint, line))


def _refused(call: Call, reason: str) -> NotBatchable:
    return NotBatchable(call.run.task_name, call.words, reason)


def account_of(call: Call) -> tuple[str, Account]:
    accounts = call.run.settings.accounts
    return accounts.match(call.url, key_of(call.headers), call.headers)


def _known_refusal(call: Call, endpoint: str, line: dict[str, Any]) -> KnownRefusal | None:
    settings = call.run.settings
    wait = settings.flush_after or timedelta(0)
    found = known_refusal(endpoint, line, off=settings.refusals_off, wait=wait)
    if found is None:
        return None
    refusal, param = found
    return KnownRefusal(call.run.task_name, call.words, str(refusal), refusal.name, param)


def _check_owner(call: Call, account: Account) -> None:
    """Refuse a call that names another organization or project than its account bills."""
    for which in OWNERS:
        named = call.headers.get(f"openai-{which}")
        billed = owner_of(account, which)
        if named is not None and named != billed:
            raise _refused(
                call, f"it is made for openai-{which} {named!r}, and its account for {billed!r}"
            )


def _check_extras(call: Call, extra: list[str]) -> None:
    if extra:
        raise _refused(
            call,
            f"a batch line carries no headers, and this call adds {', '.join(sorted(extra))} "
            "(where they change no answer, add them to batchq_ignore_headers; where a gateway "
            "wants them, give them to its account too, as `headers` or by its `http_client`)",
        )
    asked = parse_qsl(urlsplit(call.url).query, keep_blank_values=True)
    query = sorted({key for key, _ in asked} - {"api-version"})
    if query:
        raise _refused(
            call, f"a batch line carries no query, and this call adds {', '.join(query)}"
        )


def _check_stream(call: Call, endpoint: str, body: dict[str, Any]) -> None:
    if not body.get("stream"):
        return
    if endpoint not in STREAMED:
        raise _refused(call, f"stream=True has nothing to stream from in a batch of {endpoint}")
    if not call.run.settings.streams:
        raise _refused(
            call, "stream=True has nothing to stream from in a batch, and batchq_streams is off"
        )


def _line_of(call: Call, account: Account, endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
    line = {key: value for key, value in body.items() if key not in _NOT_ON_A_LINE}
    deployment = account.deployment_of(call.url)
    if deployment is not None:
        line["model"] = deployment
    if not line.get("model") and endpoint in _DEFAULT_MODEL:
        line["model"] = _DEFAULT_MODEL[endpoint]
    if not isinstance(line.get("model"), str):
        raise _refused(call, "a batch line names its model, and this call does not")
    return line


def _build(account: str, endpoint: str, body: dict[str, Any]) -> Question:
    return Question(
        account=account,
        endpoint=endpoint,
        model=body["model"],
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
        fingerprint=fingerprint(endpoint, body),
        inputs=_embedding_inputs(body.get("input")) if endpoint == "/v1/embeddings" else 0,
    )


def live_question_of(call: Call, content: bytes) -> Question | None:
    """What a live call asks, to journal it; None where its answer is not written down."""
    body = json_object(content)
    known = call.is_ours or call.at_account
    if not known or call.method != "POST" or body is None or body.get("stream"):
        return None
    model = body.get("model")
    body = {**body, "model": model if isinstance(model, str) else ""}
    return _build("", f"live {call.path}", body)


def key_of(headers: Mapping[str, str]) -> str:
    bearer = re.sub(r"^bearer +", "", headers.get("authorization", ""), flags=re.IGNORECASE)
    return headers.get("api-key", bearer)


def _embedding_inputs(given: Any) -> int:
    """How many texts an embeddings request carries: a list of numbers is one text, as tokens."""
    if not isinstance(given, list):
        return 1
    items: list[Any] = given  # pyright: ignore[reportUnknownVariableType]
    return len(items) if items and not isinstance(items[0], int) else 1
