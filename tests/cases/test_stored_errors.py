"""A caller gets the error that the task failed with: its class, its status, its code.

With results as JSON it was a bare `OpenAIError`, or an `Exception` with the text of another; with
pickle an `UnpickleableExceptionWrapper`. Neither the request nor the answer is stored for it.
"""

from __future__ import annotations

import copy
import importlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from openai import OpenAI

from batchq import NotBatchable
from batchq.celery_side import sdk_errors
from batchq.celery_side.sdk_errors import keep_sdk_errors
from tests.capture.bench import MODEL, Bench, ask, user
from tests.harness import ROOT

client = OpenAI(max_retries=0)

FAMILY: Any = importlib.import_module("httpx2" if openai.__version__ >= "3" else "httpx")
SECRET = "sk-a-secret"
ANSWER = "what was answered in confidence"

ERRORS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
}


def request() -> Any:
    url = "http://127.0.0.1/v1/chat/completions"
    return FAMILY.Request("POST", url, headers={"authorization": SECRET}, content=SECRET)


def response(status: int, content: Any) -> Any:
    headers = {"x-request-id": "req_1", "set-cookie": SECRET}
    return FAMILY.Response(status, headers=headers, json=content, request=request())


def status_error(status: int) -> openai.APIStatusError:
    """As the SDK makes it of a response."""
    said = {"message": "No.", "type": "a_type", "param": "a.param", "code": "a_code"}
    return client._make_status_error_from_response(response(status, {"error": said}))


def every_kind() -> list[Exception]:
    completion: Any = SimpleNamespace(usage=None, text=ANSWER)
    answer = {"choices": [ANSWER], "type": "chat"}
    return [
        *map(status_error, ERRORS),
        openai.OpenAIError("only words"),
        openai.APIConnectionError(request=request()),
        openai.APITimeoutError(request=request()),
        openai.APIError("While it streamed.", request(), body={"message": "While it streamed."}),
        openai.APIResponseValidationError(response(200, answer), answer),
        openai.LengthFinishReasonError(completion=completion),
        openai.ContentFilterFinishReasonError(),
    ]


def travelled(bench: Bench, error: BaseException) -> list[Any]:
    """The error after each way that it can go to a caller."""
    keep_sdk_errors()
    backend: Any = bench.app.backend
    stored = json.dumps(backend.prepare_exception(error, serializer="json"))
    pickled = pickle.dumps(error)
    for kept in (stored, pickled.decode("latin1")):
        assert SECRET not in kept
        assert ANSWER not in kept
    return [
        backend.exception_to_python(json.loads(stored)),
        pickle.loads(pickled),  # noqa: S301 our own
        backend.prepare_exception(error, serializer="pickle"),
        copy.copy(error),
    ]


@pytest.mark.parametrize("error", every_kind(), ids=lambda error: type(error).__name__)
def test_an_error_of_the_sdk_arrives_as_it_was(bench: Bench, error: Any) -> None:
    for arrived in travelled(bench, error):
        assert type(arrived) is type(error)
        assert (str(arrived), arrived.args) == (str(error), error.args)
        for name in ("message", "status_code", "code", "param", "type", "request_id"):
            assert getattr(arrived, name, None) == getattr(error, name, None), name
        if isinstance(error, openai.APIStatusError):
            assert arrived.body == error.body


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_task_that_fails_gives_its_caller_what_it_raised(
    make_bench: Callable[..., Bench], serializer: str
) -> None:
    bench = make_bench(result_serializer=serializer, accept_content=["json", "pickle"])
    bench.emulator.fault("line_error", status=400, code="a_code", message="I do not like it.")

    @bench.task
    def refused(text: str) -> str:
        return ask(client, text)

    with pytest.raises(openai.BadRequestError, match="I do not like it") as raised:
        bench.run(refused, "a text")
    assert raised.value.status_code == 400
    assert raised.value.code == "a_code"
    assert raised.value.request_id
    body: Any = raised.value.body
    assert body["message"] == "I do not like it."

    @bench.task
    def not_batchable() -> Any:
        return client.chat.completions.create(
            model=MODEL, messages=user("x"), extra_headers={"X-Mine": "1"}
        )

    with pytest.raises(NotBatchable) as ours:
        bench.run(not_batchable)
    assert "x-mine" in ours.value.reason


def test_other_errors_are_stored_as_ever(bench: Bench) -> None:
    keep_sdk_errors()

    class Mine(openai.OpenAIError):
        pass

    backend: Any = bench.app.backend
    for error in (KeyError("a key"), Mine("own")):
        stored = backend.prepare_exception(error, serializer="json")
        assert stored["exc_module"] == type(error).__module__


def test_only_errors_of_the_sdk_are_made_of_what_is_stored() -> None:
    for name in ("OpenAI", "_client", "NoSuchName", "sys"):
        assert not isinstance(getattr(sdk_errors, name, None), type)


def test_a_caller_without_us_gets_the_class_by_its_name(bench: Bench) -> None:
    """And where it unpickles, the SDK's own."""
    keep_sdk_errors()
    error = status_error(429)
    backend: Any = bench.app.backend
    stored = backend.prepare_exception(error, serializer="json")
    code = (
        "import json, pickle, sys\n"
        "from celery.backends.base import Backend\n"
        "from celery import Celery\n"
        "backend = Backend(Celery(), url='cache+memory://')\n"
        f"error = backend.exception_to_python(json.loads({json.dumps(stored)!r}))\n"
        "print(type(error).__name__, error.args[0])\n"
        f"print(pickle.loads({pickle.dumps(error)!r}).status_code)\n"
        "print('batchq' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout.split("\n")[:3] == [f"RateLimitError {error}", "429", "False"], done.stderr
