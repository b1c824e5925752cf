"""`batchq.once` and live calls: what happens once for a task, however often its body runs."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

import batchq
from batchq import StepNotJournaled
from tests.capture.bench import MODEL, Bench, ask, ask_async, user
from tests.harness import Server

client = OpenAI()
async_client = AsyncOpenAI()


def test_a_step_runs_once_for_all_runs_of_its_body(bench: Bench) -> None:
    numbers = itertools.count(1)
    seen: list[int] = []

    @bench.task
    def body() -> int:
        number = batchq.once(lambda: next(numbers))
        seen.append(number)
        ask(client, f"number {number}")
        ask(client, f"again {number}")
        return number

    assert bench.run(body) == 1
    assert seen == [1, 1, 1]


def test_steps_of_one_function_are_told_apart_by_their_order(bench: Bench) -> None:
    numbers = itertools.count()

    def draw(start: int, *, step: int) -> int:
        return start + step * next(numbers)

    @bench.task
    def body() -> list[int]:
        drawn = [batchq.once(draw, 100, step=10), batchq.once(draw, 200, step=10)]
        ask(client, str(drawn))
        return drawn

    assert bench.run(body) == [100, 210]


def test_a_step_is_given_as_json_keeps_it_from_the_first_run_on(bench: Bench) -> None:
    """The first run saw a tuple and the next a list, so a body failed hours after it had worked."""
    seen: list[Any] = []

    @bench.task
    def body() -> str:
        seen.append(batchq.once(lambda: {"pair": (1, 2), 3: "three"}))
        return ask(client, "hello")

    bench.run(body)
    assert seen[0] == seen[1] == {"pair": [1, 2], "3": "three"}


STEPS: dict[str, Any] = {
    "nothing": None,
    "zero": 0,
    "no text": "",
    "text": "é 🙂 \u2028",
    "a date": dt.datetime(2026, 11, 22, 8, 30, tzinfo=dt.UTC),
    "a uuid": uuid.UUID(int=7),
    "a decimal": Decimal("1.10"),
    "a structure": {"a": [1, 2.5, {"b": None}]},
}


@pytest.mark.parametrize("name", STEPS)
def test_what_a_step_may_return(bench: Bench, name: str) -> None:
    calls: list[None] = []
    seen: list[Any] = []

    def step() -> Any:
        calls.append(None)
        return STEPS[name]

    @bench.task
    def body() -> None:
        seen.append(batchq.once(step))
        ask(client, "hello")

    bench.run(body)
    assert calls == [None]
    assert seen == [STEPS[name]] * 2


def test_a_step_that_is_not_json_is_refused_in_words(bench: Bench) -> None:
    class Ticket:
        pass

    @bench.task
    def body() -> None:
        batchq.once(Ticket)

    with pytest.raises(StepNotJournaled, match=r"Ticket.*not JSON") as refused:
        bench.run(body)
    assert "outside the step" in str(refused.value)


def test_a_step_whose_function_failed_runs_again(bench: Bench) -> None:
    outcomes = iter([LookupError("not yet"), None, None])
    tried: list[int] = []

    def step() -> str:
        tried.append(1)
        error = next(outcomes)
        if error is not None:
            raise error
        return "done"

    @bench.task(autoretry_for=(LookupError,), default_retry_delay=0)
    def body() -> str:
        said = batchq.once(step)
        ask(client, "hello")
        return said

    result = bench.send(body)
    while result.state not in {"SUCCESS", "FAILURE"}:
        bench.deliver()
        bench.answer()
    assert result.result == "done"
    assert len(tried) == 2


def test_a_step_around_a_call_is_asked_and_then_kept(bench: Bench) -> None:
    @bench.task
    def body() -> list[str]:
        first = batchq.once(ask, client, "hello")
        return [first, ask(client, f"more than {first}")]

    assert bench.run(body) == body()
    assert bench.emulator.ledger()["lines_known"] == 2


def test_a_step_with_a_bad_answer_in_it_runs_anew(bench: Bench) -> None:
    """A retry drops the answer it found to be bad; the step that held it would have kept it."""
    texts: list[str] = []

    @bench.task(autoretry_for=(ValueError,), default_retry_delay=0)
    def body() -> str:
        text = batchq.once(ask, client, "hello")
        texts.append(text)
        if len(texts) == 1:
            raise ValueError("not what was asked for")
        return text

    result = bench.send(body)
    while result.state not in {"SUCCESS", "FAILURE"}:
        bench.deliver()
        bench.answer()
    assert result.state == "SUCCESS"
    assert bench.emulator.ledger()["lines_known"] == 2


def test_a_step_in_a_helper_thread_is_journaled_too(bench: Bench) -> None:
    """A thread of a pool carries no context; its steps ran again in every run, unnoticed."""
    calls: list[int] = []

    def step(number: int) -> int:
        calls.append(number)
        return number

    @bench.task
    def body() -> list[int]:
        with ThreadPoolExecutor(1) as pool:
            steps = list(pool.map(lambda number: batchq.once(step, number), [1, 2]))
        ask(client, "hello")
        return steps

    assert bench.run(body) == [1, 2]
    assert calls == [1, 2]


def test_a_step_outside_a_batched_body_is_a_plain_call() -> None:
    assert batchq.once(lambda: {1, 2}) == {1, 2}


# Live calls


def test_a_live_call_in_a_batched_body_is_paid_for_once(bench: Bench) -> None:
    @bench.task
    def body() -> list[str]:
        with batchq.live():
            first = ask(client, "quick")
        return [first, ask(client, f"slow, after {first}")]

    answers = bench.run(body)
    ledger = bench.emulator.ledger()
    assert (ledger["live_calls"], ledger["lines_known"]) == (1, 1)
    assert answers == body()


def test_an_async_live_call_is_paid_for_once(bench: Bench) -> None:
    async def answers() -> list[str]:
        async with AsyncOpenAI() as one_client:
            with batchq.live():
                first = await ask_async(one_client, "quick")
            return [first, await ask_async(one_client, f"slow, after {first}")]

    @bench.task
    def body() -> list[str]:
        return asyncio.run(answers())

    assert bench.run(body)
    ledger = bench.emulator.ledger()
    assert (ledger["live_calls"], ledger["lines_known"]) == (1, 1)


def test_equal_live_calls_keep_an_answer_each(bench: Bench) -> None:
    seen: list[list[str | None]] = []

    @bench.task
    def body() -> str:
        with batchq.live():
            create = client.chat.completions.with_raw_response.create
            seen.append(
                [create(model=MODEL, messages=user("a")).request_id for _ in range(2)],
            )
        return ask(client, "b")

    bench.run(body)
    assert seen[0] == seen[1]
    assert len(set(seen[0])) == 2
    assert bench.emulator.ledger()["live_calls"] == 2


def test_live_calls_side_by_side_are_all_written_down(bench: Bench) -> None:
    texts = [f"quick {number}" for number in range(6)]

    def one(text: str) -> str:
        with batchq.live():
            return ask(client, text)

    @bench.task
    def body() -> list[str]:
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(one, texts))
        ask(client, "slow")
        return answers

    assert len(set(bench.run(body))) == 6
    assert bench.emulator.ledger()["live_calls"] == 6


def test_a_failed_live_call_is_made_again(bench: Bench) -> None:
    """Only answers are written down: an error of a live call may be gone in the next run."""
    bench.emulator.fault("live_500", times=3)

    @bench.task(autoretry_for=(openai.InternalServerError,), default_retry_delay=0)
    def body() -> str:
        with batchq.live():
            return ask(client.with_options(max_retries=2), "quick")

    result = bench.send(body)
    while result.state not in {"SUCCESS", "FAILURE"}:
        bench.deliver()
    assert result.state == "SUCCESS"


def test_a_live_stream_passes_through(bench: Bench) -> None:
    """Its answer is not written down, so it goes out in every run: it belongs into `once`."""

    def streamed() -> str:
        with batchq.live():
            stream = client.chat.completions.create(model=MODEL, messages=user("a"), stream=True)
            return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)

    @bench.task
    def body() -> list[str]:
        first = batchq.once(streamed)
        return [first, ask(client, f"after {first}")]

    first, second = bench.run(body)
    assert first
    assert second
    assert bench.emulator.ledger()["live_calls"] == 1


def test_a_live_call_that_no_batch_could_take_goes_out(bench: Bench) -> None:
    @bench.task
    def body() -> list[str]:
        with batchq.live():
            models = [model.id for model in client.models.list()]
            sent = ask(client, "hello", extra_headers={"X-Team": "blue"})
        return [models[0], sent, ask(client, "slow")]

    assert all(bench.run(body))
    assert bench.emulator.ledger()["live_calls"] == 1


def test_a_live_answer_is_given_even_if_it_cannot_be_written_down(
    bench: Bench, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis was full for a moment; the SDK took the failure of our journal for one of the API,
    and in 2.x paid for the same call three times.
    """

    @bench.task
    def body() -> str:
        server.client.config_set("maxmemory", 1)
        try:
            with batchq.live():
                return ask(client, "quick")
        finally:
            server.client.config_set("maxmemory", 0)

    assert bench.run(body)
    assert bench.emulator.ledger()["live_calls"] == 1
    assert "could not be written to the journal" in caplog.text


def test_a_live_call_does_not_answer_a_batched_one(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench()

    @bench.task
    def body() -> list[str]:
        with batchq.live():
            first = ask(client, "the same words")
        return [first, ask(client, "the same words")]

    assert bench.run(body) == body()
    ledger = bench.emulator.ledger()
    assert (ledger["live_calls"], ledger["lines_known"]) == (1 + 2, 1)
