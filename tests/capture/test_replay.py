"""A replay finds its answers by the request itself; by order only where a task says so."""

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


def test_a_changed_request_gets_the_answer_of_its_place_where_the_task_says_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A time in the prompt is another one in each run; whoever knows that may have it by order."""
    times = itertools.count()

    @bench.task(on_changed="by_order")
    def body() -> str:
        return ask(client, f"It is {next(times)} o'clock. Good morning?")

    answer = bench.run(body)
    assert answer == ask(client, "It is 0 o'clock. Good morning?")
    assert bench.emulator.ledger()["lines_known"] == 1
    (warning,) = [record for record in caplog.records if record.name.startswith("batchq")]
    assert warning.levelname == "WARNING"
    assert "by_order" in warning.getMessage()
    assert body.name in warning.getMessage()


def test_all_calls_of_a_body_may_change_by_order(bench: Bench) -> None:
    times = itertools.count()

    @bench.task(on_changed="by_order")
    def body() -> list[str]:
        first = ask(client, f"It is {next(times)} o'clock. Good morning?")
        second = ask(client, f"It is {next(times)} o'clock. {first}")
        return [first, second, ask(client, f"It is {next(times)} o'clock. {second}")]

    first, second, third = bench.run(body)
    assert len({first, second, third}) == 3
    assert bench.emulator.ledger()["lines_known"] == 3


def test_a_loop_whose_requests_all_change_ends_by_order(bench: Bench) -> None:
    times = itertools.count()

    @bench.task(on_changed="by_order")
    def body() -> list[str]:
        return [ask(client, f"{number}: it is {next(times)} o'clock") for number in range(3)]

    answers = bench.run(body)
    assert len(set(answers)) == 3
    assert bench.emulator.ledger()["lines_known"] == 3


def test_calls_side_by_side_have_no_order(bench: Bench) -> None:
    """Coroutines come to their calls in any order: the answers of two of them were exchanged."""
    times = itertools.count()

    async def two() -> list[str]:
        asked = (ask_async(async_client, f"{word} at {next(times)}") for word in ("one", "two"))
        return list(await asyncio.gather(*asked))

    @bench.task(on_changed="by_order")
    def body() -> list[str]:
        return asyncio.run(two())

    with pytest.raises(RequestChanged):
        bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 4


def test_what_changed_requests_get_is_one_of_two(bench: Bench) -> None:
    with pytest.raises(TypeError, match="by_order"):
        bench.task(on_changed="guess")


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
) -> None:
    """It ends before anything new is paid for."""
    bench, options = how(make_bench)
    times = itertools.count()

    @bench.task(**options)
    def body() -> str:
        return ask(client, f"It is {next(times)} o'clock.")

    with pytest.raises(RequestChanged) as changed:
        bench.run(body)
    assert "batchq.once()" in str(changed.value)
    assert "messages[0].content" in str(changed.value)
    assert "o'clock" not in str(changed.value)
    assert bench.emulator.ledger()["lines_known"] == 1


def test_one_task_can_be_lenient_where_the_setting_is_strict(
    make_bench: Callable[..., Bench],
) -> None:
    bench, times = make_bench(batchq_strict=True), itertools.chain([0], itertools.repeat(1))

    @bench.task(strict=False)
    def body() -> str:
        return ask(client, f"It is {next(times)} o'clock.")

    assert bench.run(body) == ask(client, "It is 1 o'clock.")


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
