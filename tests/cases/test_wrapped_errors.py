"""An error that stands for a bad answer is seen as one, and one that stands for ours is not.

Libraries wrap what validation says (instructor, pydantic-ai, dspy), and what we say (litellm, as an
error of the server). The first were no ValueErrors, so that each retry got the same bad answer in
vain; the second were OpenAI's, so that a retry threw good answers away and paid for them again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel, ValidationError

from batchq import NotBatchable, errors
from batchq.capture.causes import bad_answer_in, causes
from batchq.capture.parked import BATCHED
from tests.capture.bench import MODEL, Bench, ask, user

client = OpenAI(max_retries=0)


class Wrapped(Exception):
    """A library's own."""


class DatabaseDown(Exception):
    """The user's."""


class Answer(BaseModel):
    number: int


def parsed(text: str) -> Any:
    return json.loads(text)


# That an answer was bad, in other words


def raised_from(text: str) -> None:
    try:
        parsed(text)
    except ValueError as error:
        raise Wrapped from error


def raised_in_its_place(text: str) -> None:
    try:
        parsed(text)
    except ValueError:
        raise Wrapped  # noqa: B904 as many do


def raised_in_the_place_of_a_validation(text: str) -> None:
    try:
        Answer.model_validate_json(text)
    except ValidationError:
        raise Wrapped  # noqa: B904 likewise


def wrapped_three_times(text: str) -> None:
    try:
        raised_in_its_place(text)
    except Wrapped as error:
        outer = Wrapped()
        outer.__cause__ = error
        raise Wrapped from outer


def wrapped_by_a_context_manager(text: str) -> None:
    @contextmanager
    def wrapping() -> Any:
        try:
            yield
        except ValueError:
            raise Wrapped  # noqa: B904 likewise

    with wrapping():
        parsed(text)


def wrapped_in_a_thread(text: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(raised_in_its_place, text).result()


def in_a_group(text: str) -> None:
    async def one() -> None:
        raised_from(text)

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(one())

    asyncio.run(both())


def in_a_group_in_a_group(text: str) -> None:
    try:
        in_a_group(text)
    except ExceptionGroup as group:
        raise ExceptionGroup("two", [DatabaseDown(), group]) from None


def in_a_circle(text: str) -> None:
    try:
        parsed(text)
    except ValueError as error:
        outer = Wrapped()
        error.__cause__, outer.__cause__ = outer, error
        raise outer from error


BAD = [
    raised_from,
    raised_in_its_place,
    raised_in_the_place_of_a_validation,
    wrapped_three_times,
    wrapped_by_a_context_manager,
    wrapped_in_a_thread,
    in_a_group,
    in_a_group_in_a_group,
    in_a_circle,
]

# That something else went wrong


def save() -> None:
    raise DatabaseDown


def while_a_cache_is_filled(text: str) -> None:
    """The miss of a cache is no bad answer, though it is a LookupError."""
    cache: dict[str, str] = {}
    try:
        cache[text]
    except KeyError:
        save()


def on_the_way_out(text: str) -> None:
    try:
        parsed(text)
    except ValueError:
        save()


def said_to_have_nothing_to_do_with_it(text: str) -> None:
    try:
        parsed(text)
    except ValueError:
        raise Wrapped from None


def after_it_was_dealt_with(text: str) -> None:
    with suppress(ValueError):
        parsed(text)
    save()


def in_a_circle_of_their_own(text: str) -> None:
    first, second = DatabaseDown(), Wrapped()
    first.__cause__, second.__cause__ = second, first
    raise first


OTHER = [
    while_a_cache_is_filled,
    on_the_way_out,
    said_to_have_nothing_to_do_with_it,
    after_it_was_dealt_with,
    in_a_circle_of_their_own,
]

# That a call cannot be batched


def refuse() -> None:
    client.chat.completions.create(
        model=MODEL, messages=user("refused"), extra_headers={"X-Mine": "1"}
    )


def refused(text: str) -> None:
    refuse()


def refused_as_an_error_of_the_server(text: str) -> None:
    """As litellm did it: of a class of OpenAI's, by which a retry drops what was answered."""
    try:
        refuse()
    except openai.OpenAIError as error:
        response: Any = type("Response", (), {"request": None, "status_code": 500, "headers": {}})
        raise openai.InternalServerError(str(error), response=response, body=None) from error


def refused_as_a_bad_value(text: str) -> None:
    try:
        refuse()
    except openai.OpenAIError:
        raise ValueError(text)  # noqa: B904 likewise


def refused_and_hidden(text: str) -> None:
    try:
        refuse()
    except openai.OpenAIError:
        raise ValueError(text) from None


def refused_in_a_group(text: str) -> None:
    try:
        refuse()
    except openai.OpenAIError as error:
        raise ExceptionGroup("two", [ValueError(text), error]) from None


OURS = [
    refused,
    refused_as_an_error_of_the_server,
    refused_as_a_bad_value,
    refused_and_hidden,
    refused_in_a_group,
]


def batches_of_a_retry(bench: Bench, fails: Callable[[str], None], **options: Any) -> int:
    """How often the provider was asked by a task that fails so, once, after a good answer."""
    runs: list[int] = []

    @bench.task(bind=True, name="fails", default_retry_delay=0, **options)
    def body(self: Any, text: str) -> str:
        runs.append(self.request.retries)
        answer = ask(client, text)
        if self.request.retries == 0:
            fails(f"no JSON: {answer}")
        return answer

    result = bench.send(body, fails.__name__)
    while bench.deliver():
        if result.state == BATCHED:
            bench.answer()
    assert result.state == "SUCCESS", result.result
    assert max(runs) == 1
    batches: int = bench.emulator.ledger()["batches_created"]
    return batches


AUTORETRY: dict[str, Any] = {"autoretry_for": (Exception,), "retry_backoff": False}


@pytest.mark.parametrize("fails", BAD, ids=lambda fails: fails.__name__)
def test_a_bad_answer_in_other_words_is_asked_anew(
    bench: Bench, fails: Callable[[str], None]
) -> None:
    assert batches_of_a_retry(bench, fails, **AUTORETRY) == 2


@pytest.mark.parametrize("fails", OTHER, ids=lambda fails: fails.__name__)
def test_a_good_answer_is_not_paid_for_again(bench: Bench, fails: Callable[[str], None]) -> None:
    assert batches_of_a_retry(bench, fails, **AUTORETRY) == 1


@pytest.mark.parametrize("fails", OURS, ids=lambda fails: fails.__name__)
@pytest.mark.parametrize("ask_again_on", [None, Exception], ids=["usual", "every error"])
def test_nor_is_it_where_a_call_was_refused(
    bench: Bench, fails: Callable[[str], None], ask_again_on: type[Exception] | None
) -> None:
    assert batches_of_a_retry(bench, fails, ask_again_on=ask_again_on, **AUTORETRY) == 1


def test_a_list_of_one_s_own_is_looked_for_beneath_as_well(bench: Bench) -> None:
    def down(text: str) -> None:
        try:
            save()
        except DatabaseDown as error:
            raise Wrapped from error

    assert batches_of_a_retry(bench, down, ask_again_on=DatabaseDown, **AUTORETRY) == 2


def test_a_task_that_retries_itself_for_a_bad_answer_asks_anew(bench: Bench) -> None:
    @bench.task(bind=True, name="retries", default_retry_delay=0)
    def retries(self: Any, text: str) -> str:
        answer = ask(client, text)
        if self.request.retries == 0:
            try:
                parsed(f"no JSON: {answer}")
            except ValueError:
                self.retry()
        return answer

    result = bench.send(retries, "again")
    while bench.deliver():
        if result.state == BATCHED:
            bench.answer()
    assert result.state == "SUCCESS"
    assert bench.emulator.ledger()["batches_created"] == 2


def test_the_outermost_error_that_says_so_is_the_one() -> None:
    inner, outer = KeyError("inner"), ValueError("outer")
    outer.__cause__ = inner
    group = ExceptionGroup("all", [Wrapped(), outer])
    assert bad_answer_in(group, (LookupError, ValueError)) is outer
    assert bad_answer_in(group, (LookupError,)) is inner
    assert [type(one).__name__ for one in causes(group)] == [
        *("ExceptionGroup", "Wrapped", "ValueError", "KeyError")
    ]


# What is raised at a call is not worth a repetition, for whoever looks


@pytest.mark.parametrize(
    "kind",
    [
        errors.NotBatchable,
        errors.PromptTooLarge,
        errors.RequestChanged,
        errors.RunEnded,
        errors.ThreadWithoutRun,
        errors.UnknownAccount,
        errors.ConfigurationError,
    ],
)
def test_it_has_a_status_that_nobody_retries(kind: type[Any]) -> None:
    assert kind.status_code == 400


def test_a_refusal_has_it_too(bench: Bench) -> None:
    @bench.task(name="refused")
    def body() -> tuple[bool, Any]:
        try:
            refuse()
        except openai.OpenAIError as error:
            return isinstance(error, NotBatchable), getattr(error, "status_code", None)
        return False, None

    assert bench.run(body) == [True, 400]
