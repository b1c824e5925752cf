"""A replay finds its answers by the request itself, and only then by the order of the calls."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

import batchq
from batchq import RequestChanged
from tests.capture.bench import Bench, ask, ask_async

client = OpenAI()
async_client = AsyncOpenAI()


def test_a_request_that_changed_gets_the_answer_that_was_paid_for(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A time in the prompt is another one in each run; asking again each time would never end."""
    times = itertools.count()

    @bench.task
    def body() -> str:
        return ask(client, f"It is {next(times)} o'clock. Good morning?")

    answer = bench.run(body)
    assert answer == ask(client, "It is 0 o'clock. Good morning?")
    assert bench.emulator.ledger()["lines_known"] == 1
    (warning,) = [record for record in caplog.records if record.name.startswith("batchq")]
    assert warning.levelname == "WARNING"
    assert "paid for" in warning.getMessage()
    assert "strict=True" in warning.getMessage()
    assert body.name in warning.getMessage()


def test_all_calls_of_a_body_may_change(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    times = itertools.count()

    @bench.task
    def body() -> list[str]:
        first = ask(client, f"It is {next(times)} o'clock. Good morning?")
        second = ask(client, f"It is {next(times)} o'clock. {first}")
        return [first, second, ask(client, f"It is {next(times)} o'clock. {second}")]

    first, second, third = bench.run(body)
    assert len({first, second, third}) == 3
    assert bench.emulator.ledger()["lines_known"] == 3


def test_a_loop_whose_requests_all_change_ends(bench: Bench) -> None:
    times = itertools.count()

    @bench.task
    def body() -> list[str]:
        return [ask(client, f"{number}: it is {next(times)} o'clock") for number in range(3)]

    answers = bench.run(body)
    assert [text.partition(":")[0][-1:] for text in answers]
    assert len(set(answers)) == 3
    assert bench.emulator.ledger()["lines_known"] == 3


def test_side_by_side_requests_that_all_change_keep_their_answers(bench: Bench) -> None:
    """Coroutines come to their calls in any order, and did so on Python 3.13: the answers of two of
    them were exchanged. It is the order in which they are made that tells them apart.
    """
    times, runs = itertools.count(), itertools.count()

    async def one(number: int, pause: int) -> str:
        await asyncio.sleep(pause / 200)
        return await ask_async(async_client, f"word{number} at {next(times)}")

    async def five() -> list[str]:
        upwards = next(runs) % 2 == 0
        return await asyncio.gather(*(one(n, n if upwards else 4 - n) for n in range(5)))

    @bench.task
    def body() -> list[str]:
        return asyncio.run(five())

    answers = bench.run(body)
    assert all(f"word{number}" in text for number, text in enumerate(answers)), answers
    assert bench.emulator.ledger()["lines_known"] == 5


def test_a_call_that_is_left_out_answers_no_other(bench: Bench) -> None:
    """A body with a cache of its own skips the call it has an answer for; a later, new call of the
    same model was given that answer.
    """
    cache: dict[str, str] = {}

    @bench.task
    def body() -> list[str]:
        if "first" not in cache:
            cache["first"] = ask(client, "first")
        second = ask(client, f"second, after {cache['first']}")
        return [cache["first"], second, ask(client, f"third, after {second}")]

    assert bench.run(body) == body()
    assert bench.emulator.ledger()["lines_known"] == 3


def test_a_body_that_is_run_anew_gets_its_arguments_as_they_came(bench: Bench) -> None:
    """A body may use up its arguments; a run made in the place of another needs its own."""
    times = itertools.count()
    seen: list[list[str]] = []

    @bench.task(bind=True)
    def body(self: Any, words: list[str]) -> str:
        seen.append(list(words))
        return ask(client, f"{words.pop()} at {next(times)}")

    assert bench.run(body, ["one", "two"])
    assert seen == [["one", "two"]] * 3


def test_equal_requests_go_before_the_order_of_calls(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls made in the order of a set come in another order in each process."""
    orders = itertools.cycle([["a", "b", "c"], ["c", "a", "b"]])

    @bench.task
    def body() -> list[str]:
        words = next(orders)
        answers = batchq.gather(*(lambda word=word: ask(client, word) for word in words))
        return [text for _, text in sorted(zip(words, answers, strict=True))]

    assert bench.run(body) == [ask(client, word) for word in "abc"]
    assert caplog.records == []


def strictly_by_option(make: Callable[..., Bench]) -> tuple[Bench, dict[str, Any]]:
    return make(), {"strict": True}


def strictly_by_setting(make: Callable[..., Bench]) -> tuple[Bench, dict[str, Any]]:
    return make(batchq_strict=True), {}


@pytest.mark.parametrize("how", [strictly_by_option, strictly_by_setting])
def test_strict_refuses_a_request_that_changed(
    make_bench: Callable[..., Bench],
    how: Callable[[Callable[..., Bench]], tuple[Bench, dict[str, Any]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The SDK neither tries it again nor hides it in a connection error, in 2.x and in 3.x."""
    bench, options = how(make_bench)
    times = itertools.count()
    caught: list[BaseException] = []

    @bench.task(**options)
    def body() -> str:
        try:
            return ask(client, f"It is {next(times)} o'clock.")
        except Exception as error:
            caught.append(error)
            raise

    with caplog.at_level("DEBUG", logger="openai"), pytest.raises(RequestChanged) as changed:
        bench.run(body)
    assert len(caught) == 1
    error = caught[0]
    assert isinstance(error, RequestChanged)
    assert isinstance(error, openai.OpenAIError)
    # Once more than it was delivered: only at its end a run knows that nothing equal comes.
    assert next(times) == 2 + 1
    assert "Retrying" not in caplog.text
    assert "batchq.once()" in str(changed.value)
    assert bench.emulator.ledger()["lines_known"] == 1


def test_one_task_can_be_lenient_where_the_setting_is_strict(
    make_bench: Callable[..., Bench],
) -> None:
    bench, times = make_bench(batchq_strict=True), itertools.count()

    @bench.task(strict=False)
    def body() -> str:
        return ask(client, f"It is {next(times)} o'clock.")

    assert bench.run(body)


def test_another_endpoint_or_model_is_another_question(bench: Bench) -> None:
    """Only a call of the same endpoint and model can stand in for one that is gone."""
    runs = itertools.count()

    @bench.task
    def body() -> str:
        if next(runs) == 0:
            return ask(client, "hello")
        return client.responses.create(model="gpt-5.6-luna", input="hello").output_text

    assert bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 2


def test_a_call_inside_once_that_is_not_made_again_answers_no_other(bench: Bench) -> None:
    """A step that has run is not run again, so the call in it is not made, and its answer was left.

    From the third run on, the next new call of the same model was given that answer.
    """

    @bench.task
    def body() -> list[str]:
        first = batchq.once(ask, client, "first")
        second = ask(client, f"second, after {first}")
        return [first, second, ask(client, f"third, after {second}")]

    assert bench.run(body) == body()
    assert bench.emulator.ledger()["lines_known"] == 3


def test_an_error_of_our_own_does_not_ask_paid_answers_again(bench: Bench) -> None:
    """A call that cannot be batched raises an OpenAI error too, so that SDK 2.x lets it through.

    A task that retries on OpenAI errors then dropped the answers it had, and paid for them anew.
    """

    @bench.task(autoretry_for=(openai.OpenAIError,), max_retries=1, default_retry_delay=0)
    def body() -> None:
        ask(client, "hello")
        client.models.list()

    with pytest.raises(batchq.NotBatchable):
        bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 1
