"""An answer goes to an equal request and to no other.

A body with a cache skips the call it has an answer for; the next call at that place was given the
answer that had been left, and its task was SUCCESS with another question's answer.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from openai import OpenAI

import batchq
from batchq import RequestChanged
from tests.capture.bench import Bench, ask

client = OpenAI()


def warnings_in(log: pytest.LogCaptureFixture) -> list[str]:
    found = [one for one in log.records if one.name.startswith("batchq") and one.levelno >= 30]
    return [one.getMessage() for one in found]


def test_tasks_that_share_a_cache_get_their_own_answers(bench: Bench) -> None:
    """Three of four such tasks returned the common answer twice."""

    @functools.cache
    def cached(text: str) -> str:
        return ask(client, text)

    @bench.task
    def share(own: str) -> list[str]:
        return [cached(text) for text in ("the common question", f"the question of {own}")]

    sent = {own: bench.send(share, own) for own in "abcd"}
    bench.deliver()
    while any(result.state == "BATCHED" for result in sent.values()):
        bench.answer()
        bench.deliver()
    for own, result in sent.items():
        common, its_own = result.result
        assert "the common question" in common
        assert f"the question of {own}" in its_own
    assert bench.emulator.ledger()["lines_known"] == 4 + 4


def test_a_cache_that_knows_all_leaves_answers_unread_and_says_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    cache: dict[str, str] = {}

    @bench.task
    def body() -> str:
        if "hello" not in cache:
            cache["other"] = ask(client, "hello")
        return cache.get("hello", "not read")

    result = bench.ask(body)
    cache["hello"] = "from elsewhere"
    bench.answer()
    bench.deliver()
    assert result.result == "from elsewhere"
    (warning,) = warnings_in(caplog)
    assert "calls 0" in warning
    assert body.name in warning
    assert "paid for" in warning


def test_a_changed_request_is_a_new_question_and_is_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names the place and the key of the body, and none of its words."""
    words = itertools.chain(["secret one"], itertools.repeat("secret two"))

    @bench.task
    def body() -> str:
        return ask(client, next(words), temperature=0.5)

    assert "secret two" in bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 2
    (warning,) = warnings_in(caplog)
    assert "messages[0].content" in warning
    assert "temperature" not in warning
    assert "test_equal_requests_only" in warning or "bench" in warning
    assert "secret" not in warning


def test_a_place_that_changes_in_each_run_ends_its_task(bench: Bench) -> None:
    """Each round is a day, and each is paid for: the third is not asked."""
    times = itertools.count()

    @bench.task
    def body() -> str:
        return ask(client, f"It is {next(times)} o'clock.")

    with pytest.raises(RequestChanged) as changed:
        bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 2
    assert "messages[0].content" in str(changed.value)
    assert "o'clock" not in str(changed.value)
    assert "by_order" in str(changed.value)


def test_one_that_changes_beside_others_that_do_not(bench: Bench) -> None:
    times = itertools.count()

    @bench.task
    def body() -> list[str]:
        texts = ["the same", f"It is {next(times)} o'clock."]
        return batchq.gather(*(lambda text=text: ask(client, text) for text in texts))

    with pytest.raises(RequestChanged):
        bench.run(body)
    # The first round had an answer that was read; the two after it had none.
    assert bench.emulator.ledger()["lines_known"] == 4


def test_a_retry_of_a_changed_body_asks_nothing_more(bench: Bench) -> None:
    """Celery's own retry would have paid for two more rounds each time."""
    times = itertools.count()

    @bench.task(autoretry_for=(Exception,), max_retries=3, default_retry_delay=0)
    def body() -> str:
        return ask(client, f"It is {next(times)} o'clock.")

    result = bench.send(body)
    for _ in range(8):
        bench.deliver()
        bench.answer()
    assert isinstance(result.result, RequestChanged)
    assert bench.emulator.ledger()["lines_known"] == 2


def test_a_retry_that_asks_something_else_gets_its_own_answer(bench: Bench) -> None:
    """A prompt with the number of the retry in it got the first try's answer, by order."""

    @bench.task(bind=True, max_retries=4, default_retry_delay=0)
    def body(self: Any) -> str:
        answer = ask(client, f"try {self.request.retries}")
        if self.request.retries < 4:
            raise self.retry(exc=ConnectionError("the database is away"))
        return answer

    result = bench.send(body)
    for _ in range(12):
        bench.deliver()
        bench.answer()
    assert result.state == "SUCCESS", result.result
    assert "try 4" in result.result
    assert bench.emulator.ledger()["lines_known"] == 5


def test_a_retry_with_the_same_question_is_free(bench: Bench) -> None:
    @bench.task(bind=True, max_retries=2, default_retry_delay=0)
    def body(self: Any) -> str:
        answer = ask(client, "the same")
        if self.request.retries < 2:
            raise self.retry(exc=ConnectionError("the database is away"))
        return answer

    result = bench.send(body)
    for _ in range(6):
        bench.deliver()
        bench.answer()
    assert result.state == "SUCCESS"
    assert bench.emulator.ledger()["lines_known"] == 1


def test_an_answer_of_one_account_is_not_for_an_equal_request_to_another(
    make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers are asked the same, and the body comes to them in turns."""
    monkeypatch.setenv("SECOND_KEY", "sk-second")
    bench = make_bench(batchq_accounts={"first": {}, "second": {"api_key": "env:SECOND_KEY"}})
    clients = {"first": client, "second": OpenAI(api_key="sk-second")}
    turns = itertools.cycle([["first", "second"], ["second", "first"]])

    @bench.task
    def body() -> list[str]:
        return [ask(clients[name], "the same") for name in next(turns)]

    bench.ask(body)
    bench.answer()
    bench.deliver()
    assert [lane.lane.account for lane in bench.journal.lanes.all()] == ["second"]


def test_a_question_asked_twice_is_two_questions(bench: Bench) -> None:
    @bench.task
    def body() -> list[str]:
        return [ask(client, "heads or tails?") for _ in range(3)]

    assert len(bench.run(body)) == 3
    assert bench.emulator.ledger()["lines_known"] == 3
