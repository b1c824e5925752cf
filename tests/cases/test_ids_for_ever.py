"""An id names one question for ever.

A task that replaces itself keeps its id, and its calls were numbered from 0 again: one id stood for
two questions, in two batches. Where the file of the first was read a second time the replacement
had asked by then, and got the answer to the first question.
"""

from __future__ import annotations

from typing import Any

from openai import OpenAI

from batchq.flow.fetch import fetch
from batchq.flow.resume import answer
from batchq.journal import BatchRecord
from batchq.prompt import Outcome
from tests.capture.bench import Bench, ask

client = OpenAI()


def wrong() -> Outcome:
    return Outcome(status_code=200, body=b'{"choices": []}')


def the_batch(bench: Bench) -> BatchRecord:
    (batch,) = bench.journal.batches.closed(10)[:1]
    return batch


def test_a_replacement_asks_under_ids_of_its_own(bench: Bench) -> None:
    @bench.task
    def second() -> str:
        return ask(client, "the second question")

    @bench.task(bind=True)
    def first(self: Any) -> str:
        ask(client, "the first question")
        raise self.replace(second.s())

    result = bench.ask(first)
    asked = bench.journal.views.task(result.id)
    assert asked is not None
    bench.answer()
    bench.deliver()
    bench.deliver()
    assert result.state == "BATCHED"
    late = the_batch(bench)
    # The first batch's file is read once more, now that the replacement waits.
    words = answer(bench.app, late.lane, [(f"{result.id}-0", wrong())], batch=late.id)
    assert set(words) == {"UNKNOWN"}
    assert [lane.prompts for lane in bench.journal.lanes.all()] == [1]
    bench.answer()
    bench.deliver()
    assert "the second question" in result.result


def test_an_outcome_is_only_for_a_prompt_of_its_batch(bench: Bench) -> None:
    """Also where an id has come to name another question, by a journal that ran out meanwhile."""

    @bench.task
    def body(text: str) -> str:
        return ask(client, text)

    result = bench.ask(body, "first")
    bench.answer()
    bench.deliver()
    late = the_batch(bench)
    # The same task id again, as people who name their tasks send it: nightly-42.
    for key in bench.journal.store.redis.keys(f"*{result.id}*"):
        bench.journal.store.redis.delete(key)
    again = bench.send(body, "second", task_id=result.id)
    bench.deliver()
    words = answer(bench.app, late.lane, [(f"{result.id}-0", wrong())], batch=late.id)
    assert set(words) == {"UNKNOWN"}
    bench.answer()
    bench.deliver()
    assert "second" in again.result


def test_a_retry_that_asks_anew_asks_under_a_new_id(bench: Bench) -> None:
    @bench.task(bind=True, max_retries=1, default_retry_delay=0)
    def body(self: Any) -> str:
        text = ask(client, "a number, please")
        if self.request.retries == 0:
            raise self.retry(exc=ValueError("that is no number"))
        return text

    result = bench.ask(body)
    bench.answer()
    bench.deliver()
    bench.deliver()
    assert result.state == "BATCHED"
    late = the_batch(bench)
    words = answer(bench.app, late.lane, [(f"{result.id}-0", wrong())], batch=late.id)
    assert set(words) == {"UNKNOWN"}
    bench.answer()
    bench.deliver()
    assert result.state == "SUCCESS"
    assert bench.emulator.ledger()["lines_known"] == 2


def test_an_answer_that_comes_late_for_a_prompt_asked_again_is_its_own(bench: Bench) -> None:
    """It went back to its lane for want of a row; the row comes after all, and is paid for."""

    @bench.task
    def body(text: str) -> str:
        return ask(client, text)

    result, _ = bench.ask(body, "without a row"), bench.ask(body, "with one")
    bench.emulator.fault("missing_rows", first=1, times=1)
    bench.answer()
    assert bench.waiting() == 1
    late = the_batch(bench)
    body_of_answer = (
        b'{"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index"'
        b': 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "late"}}]}'
    )
    outcome = Outcome(status_code=200, body=body_of_answer)
    answer(bench.app, late.lane, [(f"{result.id}-0", outcome)], batch=late.id)
    bench.deliver()
    assert result.result == "late"
    assert bench.waiting() == 0


def test_files_that_are_read_twice_answer_nobody_else(bench: Bench) -> None:
    """250 tasks, and a download that breaks off: whoever was answered has asked again by the time
    that the file is read once more.
    """

    @bench.task
    def second(number: int) -> str:
        return ask(client, f"the second question of {number}")

    @bench.task(bind=True)
    def first(self: Any, number: int) -> str:
        ask(client, f"the first question of {number}")
        raise self.replace(second.s(number))

    sent = [bench.send(first, number) for number in range(250)]
    bench.deliver()
    bench.emulator.fault("content_cut", at=0.9, times=1)
    for _ in range(6):
        bench.answer()
        bench.deliver()
        for batch in bench.journal.batches.open():
            fetch(bench.app, batch.id)
    for number, result in enumerate(sent):
        assert result.state == "SUCCESS"
        assert f"the second question of {number}" in result.result
    assert bench.emulator.ledger()["duplicates"] == {}
