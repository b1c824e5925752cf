"""`batchq.testing.manual`: a task stops where it has asked, and goes on when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, group
from openai import InternalServerError, OpenAI

import batchq
from batchq import batched_llm_task
from batchq.testing import NotYet, Unanswered, error, expired, manual

App = Any  # Celery


def say(text: str, model: str = "m") -> str:
    return OpenAI().responses.create(model=model, input=text).output_text


def task_of(app: App, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    decorate: Callable[[Any], Any] = batched_llm_task(app=app, shared=False, **options)
    return decorate


def upper(request: batchq.testing.Request) -> str:
    return request.text.upper()


def test_a_task_goes_on_step_by_step(app: App) -> None:
    @task_of(app)
    def improve(text: str) -> str:
        return say(f"improve {say(f'draft {text}')}")

    with manual() as batches:
        result = improve.delay("x")
        assert (result.state, result.ready()) == ("BATCHED", False)
        assert [request.text for request in batches.waiting] == ["draft x"]
        batches.flush()
        assert (batches.waiting, len(batches.batched)) == ([], 1)
        batches.answer("better")
        assert batches.batched == []
        assert batches.resume() == 1
        assert result.state == "BATCHED"
        assert [request.text for request in batches.waiting] == ["improve better"]
        batches.flush()
        batches.answer("best")
        batches.resume()
        assert (result.state, result.get(), result.ready()) == ("SUCCESS", "best", True)
    assert (batches.asked.rounds, batches.asked.lines) == (2, 2)


def test_a_batch_holds_the_prompts_of_one_lane(app: App) -> None:
    @task_of(app)
    def ask(text: str, model: str) -> str:
        return say(text, model)

    with manual() as batches:
        results = [ask.delay(text, model) for text, model in ("am", "bn", "cm")]
        assert [[each.text for each in batch] for batch in batches.flush()] == [["a", "c"], ["b"]]
        late = ask.delay("d", "m")
        batches.answer(upper)
        assert batches.resume() == 3
        assert [result.get() for result in results] == ["A", "B", "C"]
        assert late.state == "BATCHED"


def test_a_task_with_several_questions_waits_for_all_of_them(app: App) -> None:
    @task_of(app)
    def both() -> list[str]:
        return batchq.gather(lambda: say("left"), lambda: say("right"))

    with manual() as batches:
        result = both.delay()
        batches.flush()
        batches.answer({"left": "1", "right": expired()})
        with pytest.raises(NotYet, match="'right'"):
            batches.resume()
        assert [(request.text, request.attempt) for request in batches.waiting] == [("right", 2)]
        batches.flush()
        batches.answer("2")
        batches.resume()
        assert result.get() == ["1", "2"]


def test_what_expires_three_times_is_an_error(app: App) -> None:
    @task_of(app)
    def ask() -> str | None:
        try:
            return say("hello")
        except InternalServerError as failed:
            return failed.code

    with manual() as batches:
        result = ask.delay()
        for _ in range(3):
            batches.flush()
            batches.expire()
        batches.resume()
        assert result.get() == "batch_expired"
    assert batches.asked.lines == 3


def test_a_retry_waits_for_its_own_answer(app: App) -> None:
    @task_of(app, autoretry_for=(ValueError,), retry_kwargs={"countdown": 60})
    def number() -> int:
        return int(say("a number"))

    with manual() as batches:
        result = number.delay()
        for answer in ("many", "3"):
            assert result.state == "BATCHED"
            batches.flush()
            batches.answer(answer)
            batches.resume()
        assert result.get() == 3
    assert [request.number for request in batches.asked.prompts] == [0, 1]


def test_a_failed_task_raises_at_get(app: App) -> None:
    @task_of(app)
    def ask() -> str:
        raise KeyError(say("hello"))

    with manual() as batches:
        result = ask.delay()
        batches.flush()
        batches.answer("hi")
        batches.resume()
        assert result.failed()
        with pytest.raises(KeyError, match="hi"):
            result.get()


def test_links_and_groups_work(app: App) -> None:
    heard: list[str] = []

    def listen(text: str) -> None:
        heard.append(text)

    hear = app.task(listen)

    @task_of(app)
    def ask(text: str) -> str:
        return say(text)

    with manual() as batches:
        ask.apply_async(("a",), link=hear.s())
        parts = group(ask.s(text) for text in "bc").delay()
        assert heard == []
        batches.flush()
        batches.answer(upper)
        assert batches.resume() == 3
        assert heard == ["A"]
        assert parts.get() == ["B", "C"]


def test_what_comes_too_early_fails_the_test(app: App) -> None:
    @task_of(app)
    def ask(text: str) -> str:
        return say(text)

    with manual() as batches:
        with pytest.raises(NotYet, match="no prompt is in a batch, and 0 wait"):
            batches.answer("hi")
        result = ask.delay("x")
        for step in (lambda: batches.answer("hi"), batches.resume, result.get):
            with pytest.raises(NotYet):
                step()
        with pytest.raises(NotYet, match="Chains and chords"):
            chain(ask.s("x"), ask.s()).delay()


def test_live_calls_have_rules_of_their_own(app: App) -> None:
    @task_of(app)
    def guarded() -> list[str]:
        with batchq.live():
            first = say("now")
        return [first, say("later")]

    with manual(live={"now": "1"}) as batches:
        result = guarded.delay()
        batches.flush()
        batches.answer(error(429))
        batches.flush()
        batches.answer("2")
        batches.resume()
        assert result.get() == ["1", "2"]
    assert len(batches.asked.live) == 1
    with pytest.raises(Unanswered), manual():
        say("now")
