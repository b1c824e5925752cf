"""`batchq.testing.assert_repeatable`: a body that asks something else each time is found out."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from openai import OpenAI

import batchq
from batchq import RequestChanged, batched_llm_task
from batchq.testing import Endless, answers, assert_repeatable

App = Any  # Celery
MODEL = "gpt-5.6-luna"


def say(text: str, **more: Any) -> str:
    messages: list[Any] = [{"role": "system", "content": "Be brief."}]
    messages.append({"role": "user", "content": text})
    completion = OpenAI().chat.completions.create(model=MODEL, messages=messages, **more)
    return str(completion.choices[0].message.content)


def task_of(app: App, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    decorate: Callable[[Any], Any] = batched_llm_task(app=app, shared=False, **options)
    return decorate


def complaint(task: Any, *args: Any) -> str:
    """What `assert_repeatable` says of the task."""
    with pytest.raises(AssertionError) as failed, answers("hi"):
        assert_repeatable(task, *args)
    return str(failed.value)


def test_a_body_that_asks_the_same_passes_and_returns_what_it_returns(app: App) -> None:
    written: list[str] = []

    @task_of(app)
    def improve(text: str, *, more: str) -> str:
        answer = say(f"improve {say(f'draft {text}')} {more}")
        written.append(answer)
        return answer

    with answers(lambda request: request.text[-1]) as asked:
        assert assert_repeatable(improve, "a poem", more="!") == "!"
    assert written == ["!"]
    assert [request.text.splitlines()[1] for request in asked.prompts] == [
        "draft a poem",
        "improve m !",
    ]


def test_it_says_which_key_of_the_body_changed(app: App) -> None:
    count = itertools.count(1)

    @task_of(app)
    def ask(text: str) -> str:
        number = next(count)
        return say(f"{text} (number {number})", metadata={"run": str(number), "of": "a test"})

    told = complaint(ask, "hello")
    assert f"{ask.name} asks something else when its body runs again" in told
    changed = "'hello (number 1)', then 'hello (number 2)'"
    assert f"call 0, messages[1].content: {changed}" in told
    assert "call 0, metadata.run: '1', then '2'" in told
    assert told.count("call 0") == 2


def test_a_long_text_is_shown_where_it_begins_to_differ(app: App) -> None:
    @task_of(app)
    def ask() -> str:
        return say(f"{'words ' * 100}{uuid.uuid4()}{' more' * 100}")

    told = complaint(ask)
    assert re.search(r"content: '….*…', then '….*…'", told)
    assert len(told) < 500


def test_a_change_in_a_later_round_is_found_too(app: App) -> None:
    count = itertools.count()

    @task_of(app)
    def ask() -> str:
        answer = say("the first")
        return say(f"{answer} {next(count)}")

    assert "(round 1):\n  call 1, messages[1].content: 'hi 0', then 'hi 1'" in complaint(ask)


def test_a_value_that_once_has_taken_does_not_change(app: App) -> None:
    @task_of(app)
    def ask() -> str:
        return say(f"id {batchq.once(lambda: str(uuid.uuid4()))}")

    with answers("hi"):
        assert assert_repeatable(ask) == "hi"


def test_calls_that_come_in_another_order_are_the_same_calls(app: App) -> None:
    turn = itertools.cycle([False, True])

    @task_of(app)
    def ask() -> list[str]:
        texts = sorted(["a", "b", "c"], reverse=next(turn))
        return sorted(batchq.gather(*(lambda text=text: say(text) for text in texts)))

    with answers(lambda request: request.text[-1]):
        assert assert_repeatable(ask) == ["a", "b", "c"]


def test_a_call_that_a_memory_saves_is_told(app: App) -> None:
    """A cache outside the body: the second run does not ask what the first did."""
    memory: set[str] = set()

    @task_of(app)
    def ask(text: str) -> str:
        if text in memory:
            return "remembered"
        memory.add(text)
        return say(text)

    assert f"call 0 ({MODEL} at /v1/chat/completions) is not made the second" in complaint(ask, "x")


def test_another_model_or_endpoint_is_told(app: App) -> None:
    models = iter(["m1", "m2"])

    @task_of(app)
    def ask() -> str:
        return OpenAI().responses.create(model=next(models), input="x").output_text

    assert "call 0 goes to m1 at /v1/responses, then to m2 at /v1/responses" in complaint(ask)


def test_a_task_that_fails_raises_its_own_error(app: App) -> None:
    @task_of(app, autoretry_for=(KeyError,), retry_kwargs={"max_retries": 1})
    def ask() -> str:
        raise KeyError(say("hello"))

    with pytest.raises(KeyError), answers("hi"):
        assert_repeatable(ask)


def test_it_stands_inside_of_answers(app: App) -> None:
    @task_of(app)
    def ask() -> str:
        return say("hello")

    with pytest.raises(RuntimeError, match=r"with batchq\.testing\.answers"):
        assert_repeatable(ask)


def test_a_body_without_an_end_is_stopped(app: App) -> None:
    @task_of(app)
    def ask() -> None:
        for number in itertools.count():
            say(f"question {number}")

    with pytest.raises(Endless) as endless, answers("hi", most_rounds=4):
        ask.delay()
    assert "asked something new in each of 4 rounds" in str(endless.value)
    assert "question 3'" in str(endless.value)


def test_a_body_whose_requests_change_for_ever_ends_as_in_production(app: App) -> None:
    count = itertools.count()

    @task_of(app)
    def ask() -> str:
        return say(f"question {next(count)}")

    with answers("hi") as asked, pytest.raises(RequestChanged, match="messages"):
        ask.delay().get()
    assert len(asked.requests) == 2
