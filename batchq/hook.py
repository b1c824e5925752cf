"""The hook: inside a batched body, an OpenAI call is asked through the journal, not a socket.

It sits on the public ``send`` of the HTTP clients, because a batch line is exactly an HTTP
exchange: whatever is built on the openai SDK is caught with no code of its own. It does nothing
outside a batched body.

    call -> hook -> Question -> Run.ask -> its outcome, as an HTTP response
                                        -> or it is written into the run, and the body ends
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from batchq.callsite import other_coroutines
from batchq.errors import BatchqError, NotBatchable
from batchq.prompt import Outcome, fingerprint
from batchq.run import Captured, Question, Run, goes_live, run_of_call

if TYPE_CHECKING:
    from batchq.account import Account
    from batchq.config import Settings

__all__ = ["install_hook"]


def install_hook() -> None:
    """Put the hook on the HTTP clients the SDK can use (httpx2 for 3.x, httpx for 2.x), once."""
    for family in ("httpx2", "httpx"):
        if find_spec(family) is None:
            continue
        module = import_module(family)
        for name, wrap in (("Client", _hooked), ("AsyncClient", _hooked_async)):
            client = getattr(module, name)
            if not hasattr(client.send, "__batchq__"):
                client.send = wrap(client.send)


def _hooked(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    def hooked(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        run = _run_of(request)
        if run is None:
            return send(client, request, *args, **kwargs)
        request.read()
        if not goes_live():
            return _response(request, _ask(request, run))
        question = _live_question(request, kwargs)
        recorded = run.recall(question) if question is not None else None
        if recorded is not None:
            return _response(request, recorded)
        response = send(client, request, *args, **kwargs)
        if question is not None and response.is_success:
            response.read()
            run.record(question, _outcome_of(response))
        return response

    vars(hooked)["__batchq__"] = True
    return hooked


def _hooked_async(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    async def hooked(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        run = _run_of(request)
        if run is None:
            return await send(client, request, *args, **kwargs)
        await request.aread()
        if not goes_live():
            try:
                return _response(request, _ask(request, run))
            except Captured:
                await _let_others_ask(run)
                raise
        question = _live_question(request, kwargs)
        recorded = run.recall(question) if question is not None else None
        if recorded is not None:
            return _response(request, recorded)
        response = await send(client, request, *args, **kwargs)
        if question is not None and response.is_success:
            await response.aread()
            run.record(question, _outcome_of(response))
        return response

    vars(hooked)["__batchq__"] = True
    return hooked


_LULL = 0.02
_PATIENCE = 1.0
_WAITING_ROOMS = frozenset(room.__file__ for room in (asyncio.locks, asyncio.queues))


async def _let_others_ask(run: Run) -> None:
    """Wait until the coroutines beside this one have made their calls, so that they share a round.

    What ends a TaskGroup, and often a gather, ends those that have not come to their call yet.
    """
    if run.others_wait_for_us or not other_coroutines():
        return
    # A turn for each, so that all of them have begun.
    await asyncio.sleep(0)
    until = time.monotonic() + _PATIENCE
    asked = 0
    while asked < len(run.asked) and time.monotonic() < until:
        run.others_wait_for_us |= any(map(_waits_for_another, asyncio.all_tasks()))
        if run.others_wait_for_us:
            return
        asked = len(run.asked)
        await asyncio.sleep(_LULL)


def _waits_for_another(task: asyncio.Task[Any]) -> bool:
    """True for a coroutine at a semaphore, a lock or a queue: it goes on when one of us ends."""
    inner: Any = task.get_coro()
    while getattr(inner, "cr_await", None) is not None and hasattr(inner.cr_await, "cr_code"):
        inner = inner.cr_await
    code = getattr(inner, "cr_code", None)
    return code is not None and code.co_filename in _WAITING_ROOMS


def _run_of(request: Any) -> Run | None:
    if not _is_openai(request):
        return None
    try:
        return run_of_call(request.url.path)
    except BatchqError as error:
        raise _as_openai_error(error) from None


def _ask(request: Any, run: Run) -> Outcome:
    try:
        return run.ask(_question(request, run.settings, run.task_name))
    except BatchqError as error:
        raise _as_openai_error(error) from None


def _is_openai(request: Any) -> bool:
    """True for a request that the openai SDK made.

    Other SDKs of the same maker (Anthropic's) send the same headers with a version of their own.
    """
    version = getattr(sys.modules.get("openai"), "__version__", None)
    headers = request.headers
    return (
        version is not None
        and headers.get("x-stainless-lang") == "python"
        and headers.get("x-stainless-package-version") == version
    )


_SECRET = frozenset({"authorization", "api-key"})


def _response(request: Any, outcome: Outcome) -> Any:
    """The outcome as the HTTP response the SDK waits for, in the family its request is of."""
    # The SDK's errors carry their request, and trackers of errors send it on with its headers.
    for header in _SECRET.intersection(request.headers):
        request.headers[header] = "kept out by batchq"
    family = sys.modules[type(request).__module__.partition(".")[0]]
    headers = {"content-type": "application/json"}
    if outcome.request_id:
        headers["x-request-id"] = outcome.request_id
    if not outcome.succeeded:
        # The answer will not change however often the SDK asks the journal.
        headers["x-should-retry"] = "false"
    response = family.Response(
        outcome.status_code, headers=headers, content=outcome.body, request=request
    )
    response.elapsed = timedelta(0)
    return response


def _outcome_of(response: Any) -> Outcome:
    return Outcome(
        status_code=response.status_code,
        body=response.content,
        request_id=response.headers.get("x-request-id", ""),
    )


# From a request to a question

_CARRIED = frozenset(
    "accept accept-encoding api-key authorization connection content-length content-type host "
    "idempotency-key openai-organization openai-project user-agent "
    # A provider's own, from a live call before.
    "cookie "
    # Written by tracing tools for the one hop that does not happen here.
    "b3 baggage elastic-apm-traceparent newrelic sentry-trace traceparent tracestate uber-trace-id "
    "x-amzn-trace-id x-cloud-trace-context".split()
)
_CARRIED_PREFIXES = ("x-stainless-", "x-datadog-", "x-b3-")

_DEFAULT_MODEL = {"/v1/moderations": "omni-moderation-latest"}
"""Where the live API has a default and a batch wants a model on each line (API reference)."""


def _question(request: Any, settings: Settings, task_name: str) -> Question:
    """What a captured request asks. Raises, in words, what a batch line cannot carry."""
    url = str(request.url)
    call = f"{request.method} {request.url.path}"
    name, account = settings.accounts.match(url, _key_of(request))
    endpoint = account.endpoint_of(url)
    if endpoint is None or request.method != "POST":
        raise NotBatchable(task_name, call, "this endpoint has no batch")
    _check_owner(request, account, task_name, call)
    extra = [header for header in request.headers if not _is_carried(header)]
    if extra:
        raise NotBatchable(
            task_name,
            call,
            f"a batch line carries no headers, and this call adds {', '.join(sorted(extra))}",
        )
    query = [key for key in request.url.params if key != "api-version"]
    if query:
        raise NotBatchable(
            task_name,
            call,
            f"a batch line carries no query, and this call adds {', '.join(sorted(query))}",
        )
    body = _json_object(request.content)
    if body is None:
        raise NotBatchable(
            task_name, call, "a batch line carries JSON, and this call sends files or a form"
        )
    if body.get("stream"):
        raise NotBatchable(task_name, call, "stream=True has nothing to stream from in a batch")
    # OpenAI refuses a file for `stream: true` and takes no tier but its own.
    body = {key: value for key, value in body.items() if key not in {"stream", "service_tier"}}
    deployment = account.deployment_of(url)
    if deployment is not None:
        body["model"] = deployment
    if not body.get("model") and endpoint in _DEFAULT_MODEL:
        body["model"] = _DEFAULT_MODEL[endpoint]
    if not isinstance(body.get("model"), str):
        raise NotBatchable(task_name, call, "a batch line names its model, and this call does not")
    return _build(name, endpoint, body)


def _check_owner(request: Any, account: Account, task_name: str, call: str) -> None:
    """Refuse a call that names another organization or project than its account bills."""
    for header, ours, variable in (
        ("openai-organization", account.organization, "OPENAI_ORG_ID"),
        ("openai-project", account.project, "OPENAI_PROJECT_ID"),
    ):
        named = request.headers.get(header)
        billed = ours if ours is not None else os.environ.get(variable)
        if named is not None and named != billed:
            reason = f"it is made for {header} {named!r}, and its account for {billed!r}"
            raise NotBatchable(task_name, call, reason)


def _build(account: str, endpoint: str, body: dict[str, Any]) -> Question:
    return Question(
        account=account,
        endpoint=endpoint,
        model=body["model"],
        body=json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(),
        fingerprint=fingerprint(endpoint, body),
        inputs=_embedding_inputs(body.get("input")) if endpoint == "/v1/embeddings" else 0,
    )


def _live_question(request: Any, send_options: dict[str, Any]) -> Question | None:
    """What a live call asks, to journal it; None where its answer cannot be written down."""
    body = _json_object(request.content)
    streams = send_options.get("stream") or body is None or body.get("stream")
    if streams or body is None or request.method != "POST":
        return None
    model = body.get("model")
    body = {**body, "model": model if isinstance(model, str) else ""}
    return _build("", f"live {request.url.path}", body)


def _key_of(request: Any) -> str:
    headers = request.headers
    bearer: str = headers.get("authorization", "").removeprefix("Bearer ")
    key: str | None = headers.get("api-key")
    return bearer if key is None else key


def _is_carried(header: str) -> bool:
    return header in _CARRIED or header.startswith(_CARRIED_PREFIXES)


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(content)
    except ValueError:
        return None
    return cast("dict[str, Any]", body) if isinstance(body, dict) else None


def _embedding_inputs(given: Any) -> int:
    """How many texts an embeddings request carries: a list of numbers is one text, as tokens."""
    if not isinstance(given, list):
        return 1
    items: list[Any] = given  # pyright: ignore[reportUnknownVariableType]
    return len(items) if items and not isinstance(items[0], int) else 1


def _as_openai_error(error: BatchqError) -> BatchqError:
    """The same error, in a class that is also the SDK's own.

    SDK 2.x retries any other Exception from the HTTP client and hides it in an
    APIConnectionError; both let an OpenAIError through untouched.
    """
    return _openai_twin(type(error))(*error.args)


_twins: dict[type[BatchqError], type[BatchqError]] = {}


def _openai_twin(kind: type[BatchqError]) -> type[BatchqError]:
    if kind not in _twins:
        _twins[kind] = _make_twin(kind)
    return _twins[kind]


def _make_twin(kind: type[BatchqError]) -> type[BatchqError]:
    from openai import OpenAIError

    def __reduce__(self: BatchqError) -> tuple[type[BatchqError], tuple[Any, ...]]:  # noqa: N807
        return kind, self.args

    names = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    return type(kind.__name__, (kind, OpenAIError), {**names, "__reduce__": __reduce__})
