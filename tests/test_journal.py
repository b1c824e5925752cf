"""Each transition of the journal on a real server: its words, done twice, done by a stranger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from os import urandom
from typing import Any

import pytest
import redis
from celery import Celery

from batchq.decide.room import NO_LIMIT
from batchq.journal import Entry, Journal
from batchq.journal.lease import Lease
from batchq.journal.scripts import Call, arguments
from batchq.journal.store import Store
from batchq.prompt import Lane
from batchq.settings.config import settings
from batchq.settings.limits import Limits
from tests.harness import keys_without_end, wait_until
from tests.journals import (
    DOCUMENTED,
    LANE,
    capture,
    chat,
    claim,
    ids,
    message,
    outcome,
    outcomes,
    prompt,
)

SECOND = timedelta(seconds=1)


class WatchedStore(Store):
    """A store that remembers the keys it gave to its scripts."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.given: list[tuple[str, list[str]]] = []

    def run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        self.given.append((script, list(keys)))
        return super().run(script, keys, args)

    def words(self, script: str, calls: Sequence[Call]) -> list[str]:
        self.given += [(script, list(keys)) for keys, _ in calls]
        return super().words(script, calls)


class Watched(Journal):
    store: WatchedStore


def make(redis_url: str, **options: Any) -> Watched:
    app: Celery[Any] = Celery("journal", set_as_current=False)
    app.conf.update(batchq_redis_url=redis_url, **options)
    return Watched(WatchedStore(redis.Redis.from_url(redis_url), settings(app)))


@pytest.fixture
def journal(redis_url: str) -> Iterator[Watched]:
    """An empty journal. After the test no key is left without an end but for the documented
    ones, and all keys share one hash tag.
    """
    journal = make(redis_url)
    yield journal
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert keys_without_end(client, documented=DOCUMENTED) == []
        assert [key for key in client.scan_iter() if not key.startswith("{batchq}:")] == []
    for script, keys in journal.store.given:
        assert all(key.startswith("{batchq}:") for key in keys), script


def sealed(
    journal: Journal, batch_id: str = "b1", *, tokens: int = NO_LIMIT, **limits: Any
) -> tuple[int, bool]:
    return journal.lanes.seal(LANE, batch_id, limits=Limits(**limits), tokens=tokens)


def held(journal: Journal, batch_id: str = "b1") -> Lease:
    lease = Lease(journal.store.key("lease", "batch", batch_id), "the holder")
    journal.store.redis.set(lease.key, lease.token, px=60_000)
    return lease


def record(journal: Journal, batch_id: str = "b1") -> Any:
    found = journal.batches.get(batch_id)
    assert found is not None
    return found


# claim


def test_one_run_at_a_time(journal: Journal) -> None:
    lease, first = claim(journal, "t")
    assert first.word == "CLAIMED"
    assert claim(journal, "t")[1].word == "BUSY"
    again = journal.runs.claim("t", token=lease.token, nesting=0, retries=0)
    assert again.word == "CLAIMED", "the answer to its own claim was lost on the way"


def test_a_task_that_waits_for_answers_is_not_run(journal: Journal) -> None:
    asked = capture(journal)
    assert claim(journal, asked.task_id)[1].word == "WAITING"


def test_a_retry_that_was_sent_by_a_body_that_had_asked_waits_too(journal: Journal) -> None:
    """A body asked, swallowed that, and retried: the retry ran while the prompts were out.

    It asked them a second time, and the first answer let the task go on without the others.
    """
    asked = capture(journal, None, None)
    assert claim(journal, asked.task_id, retries=1)[1].word == "WAITING"
    assert journal.answers.add(LANE, [(one, outcome()) for one in asked.custom_ids])[-1] == "READY"
    assert claim(journal, asked.task_id)[1].word == "CLAIMED"


def test_a_run_that_has_ended_is_not_run_again(journal: Journal) -> None:
    lease, _ = claim(journal, "t", retries=1)
    assert journal.runs.settle("t", token=lease.token, state="SUCCESS", final=True) == "SETTLED"
    assert claim(journal, "t", retries=1)[1].word == "DONE"
    assert claim(journal, "t", retries=0)[1].word == "DONE"


def test_a_delivery_of_an_earlier_run_comes_too_late(journal: Journal) -> None:
    """It must not run the body for a second time, beside a retry that is between two of its own."""
    lease, _ = claim(journal, "t", retries=1)
    journal.runs.settle("t", token=lease.token, state="RETRY", final=False)
    assert claim(journal, "t", retries=0)[1].word == "DONE"
    earlier = journal.runs.lease("t")
    newer = journal.runs.claim("t", token=lease.token, nesting=1, retries=0)
    assert newer.word == "CLAIMED"
    journal.store.redis.delete(lease.key)
    assert journal.runs.claim("t", token=earlier.token, nesting=0, retries=5).word == "DONE"


def died(journal: Journal, times: int = 1, **options: Any) -> None:
    """A run of the task begins, and its worker dies."""
    for _ in range(times):
        lease, claimed = claim(journal, "t", **options)
        assert claimed.word == "CLAIMED"
        journal.store.redis.delete(lease.key)  # as when it runs out


def test_a_task_that_kills_its_workers_dies_itself(journal: Journal) -> None:
    """Its body ran out of memory, and every worker that was left took it in turn."""
    died(journal, 3)
    lease, claimed = claim(journal, "t")
    assert claimed.word == "DEAD"
    assert journal.runs.bury("t", token="a stranger", message=b"m", state="FAILURE") == "LOST"
    assert journal.runs.bury("t", token=lease.token, message=b"m", state="FAILURE") == "BURIED"
    assert claim(journal, "t")[1].word == "DONE"
    assert [task_id for task_id, _ in journal.tasks.dead()] == ["t"]
    # A retry of it (by autoretry_for, say) is not run either.
    assert claim(journal, "t", retries=1)[1].word == "DEAD"


def test_a_dead_task_is_revived_with_its_answers(journal: Journal) -> None:
    asked = capture(journal, task_id="t")
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome("paid for"))])
    died(journal, 3)
    lease, claimed = claim(journal, "t")
    assert claimed.word == "DEAD"
    journal.runs.bury("t", token=lease.token, message=message("t"), state="FAILURE")
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == []
    assert journal.tasks.revive("t")
    assert not journal.tasks.revive("t")
    assert journal.tasks.dead() == []
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == ["t"]
    assert journal.tasks.messages(["t"]) == [message("t")]
    died(journal, 2)
    again = claim(journal, "t")[1]
    assert again.word == "CLAIMED"
    assert [entry.outcome for entry in again.entries] == [outcome("paid for")]


def test_a_dead_task_that_celery_gives_up_can_be_revived_all_the_same(journal: Journal) -> None:
    """Its last worker may be killed just after it has buried it, and Celery then fails the task."""
    died(journal, 3)
    lease, _ = claim(journal, "t")
    journal.runs.bury("t", token=lease.token, message=message("t"), state="FAILURE")
    journal.tasks.drop("t")
    assert journal.tasks.revive("t")
    assert journal.tasks.messages(["t"]) == [message("t")]


@pytest.mark.parametrize("end", ["asks", "is retried"])
def test_a_run_that_ends_in_order_sets_the_count_back(journal: Journal, end: str) -> None:
    """A worker that was paused for longer than its lease looks like one that was killed."""
    died(journal, 2)
    retries = 0
    if end == "asks":
        asked = capture(journal, task_id="t")
        journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    else:
        lease, _ = claim(journal, "t")
        journal.runs.settle("t", token=lease.token, state="RETRY", final=False)
        retries = 1
    died(journal, 2, retries=retries)
    assert claim(journal, "t", retries=retries)[1].word == "CLAIMED"


def test_a_run_that_died_is_sent_again_once_in_a_while(journal: Journal) -> None:
    """A message for every tick went to the queue of a task whose run had died."""
    asked = capture(journal, task_id="t")
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    journal.resuming.sent(["t"])
    died(journal)
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == ["t"]
    journal.resuming.sent(["t"])
    assert journal.resuming.look().stuck(unclaimed_for=timedelta(minutes=1)) == []
    died(journal)
    assert journal.resuming.look().stuck(unclaimed_for=timedelta(minutes=1)) == ["t"]


def test_a_newer_run_waits_for_the_end_of_the_one_before(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    assert claim(journal, "t", retries=1)[1].word == "ENDING"
    journal.runs.settle("t", token=lease.token, state="RETRY", final=False)
    assert claim(journal, "t", retries=1)[1].word == "CLAIMED"


def test_a_run_that_died_is_taken_over(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    journal.store.redis.delete(lease.key)
    other, taken = claim(journal, "t")
    assert taken.word == "CLAIMED"
    assert journal.runs.settle("t", token=lease.token, state="SUCCESS", final=True) == "LOST"
    assert journal.runs.settle("t", token=other.token, state="SUCCESS", final=True) == "SETTLED"


def test_a_claim_brings_what_is_known(journal: Journal) -> None:
    asked = capture(journal, chat("a"), chat("b"))
    journal.answers.add(
        LANE, [(asked.custom_ids[0], outcome("A")), (asked.custom_ids[1], outcome("B"))]
    )
    lease, claimed = claim(journal, asked.task_id)
    assert [entry.outcome for entry in claimed.entries] == [outcome("A"), outcome("B")]
    assert [entry.fingerprint for entry in claimed.entries] == [
        each.fingerprint for each in asked.prompts
    ]
    assert claimed.next_number == 2
    journal.runs.note_step(asked.task_id, token=lease.token, name="step#1", value="5")
    journal.store.redis.delete(lease.key)
    assert claim(journal, asked.task_id)[1].steps == {"step#1": "5"}


def test_a_replaced_task_begins_with_an_empty_journal(journal: Journal) -> None:
    asked = capture(journal)
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    lease = journal.runs.lease(asked.task_id)
    claimed = journal.runs.claim(asked.task_id, token=lease.token, nesting=1, retries=0)
    assert (claimed.word, claimed.entries) == ("CLAIMED", ())


# capture


def test_a_capture_puts_each_prompt_in_its_lane(journal: Journal) -> None:
    other = Lane(account="default", endpoint="/v1/embeddings", model="text-embedding-3-small")
    lease, _ = claim(journal, "t")
    prompts = [
        prompt("t", 0),
        prompt("t", 1, lane=other, body=b'{"model":"m","input":"x"}', inputs=1),
    ]
    given: Any = {"token": lease.token, "message": message("t")}
    given |= {"prompts": prompts, "next_number": 2}
    assert journal.runs.capture("t", **given) == "CAPTURED"
    assert journal.runs.capture("t", **given) == "ALREADY"
    assert {(one.lane, one.prompts, one.bytes, one.tokens) for one in journal.lanes.all()} == {
        (each.lane, 1, each.size, each.tokens) for each in prompts
    }
    assert journal.answers.places(["t-0", "t-1"]) == ["lane", "lane"]
    assert (journal.waiting.count(), journal.tallies.counters()) == (1, {"captured": 2})


def test_a_run_that_was_taken_over_captures_nothing(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    journal.store.redis.delete(lease.key)
    claim(journal, "t")
    given: Any = {"message": message("t"), "prompts": [prompt("t")], "next_number": 1}
    assert journal.runs.capture("t", token=lease.token, **given) == "LOST"
    assert journal.lanes.all() == []


def test_a_run_whose_lease_ran_out_unnoticed_still_captures(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    journal.store.redis.delete(lease.key)
    given: Any = {"message": message("t"), "prompts": [prompt("t")], "next_number": 1}
    assert journal.runs.capture("t", token=lease.token, **given) == "CAPTURED"


# keep, note, settle


def test_a_message_that_found_its_task_busy_is_kept(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    assert journal.runs.keep("t", message=b"the second") == "KEPT"
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == [], "the other run is alive"
    journal.store.redis.delete(lease.key)
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == ["t"]
    assert journal.tasks.messages(["t"]) == [b"the second"]


def test_nothing_is_kept_for_a_task_nobody_knows(journal: Journal) -> None:
    assert journal.runs.keep("t", message=b"x") == "GONE"


def test_a_task_that_ended_leaves_no_prompt_though_a_second_delivery_is_kept(
    journal: Journal,
) -> None:
    """What it had asked lay in Redis for as long as the mark that refuses a second delivery."""
    asked = capture(journal)
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    lease, _ = claim(journal, asked.task_id)
    assert claim(journal, asked.task_id)[1].word == "BUSY"
    journal.runs.keep(asked.task_id, message=message(asked.task_id))
    journal.runs.settle(asked.task_id, token=lease.token, state="SUCCESS", final=True)
    assert not journal.store.redis.exists(journal.store.bodies_key(asked.task_id))
    assert outcomes(journal, asked) == [None]

    assert journal.tasks.messages([asked.task_id]) == [message(asked.task_id)]
    assert claim(journal, asked.task_id)[1].word == "DONE"
    assert journal.resuming.count() == 0


def test_only_the_run_itself_notes(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    entry = Entry(number=0, endpoint="live", model="m", fingerprint="f", round=0, outcome=outcome())
    assert journal.runs.note_live("t", token=lease.token, entry=entry) == "NOTED"
    assert journal.runs.note_live("t", token="a stranger", entry=entry) == "LOST"
    assert journal.runs.note_step("t", token="a stranger", name="n", value="v") == "LOST"


def test_settled_twice_is_settled_once(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    assert journal.runs.settle("t", token=lease.token, state="SUCCESS", final=True) == "SETTLED"
    before = journal.store.redis.hgetall(journal.store.task_key("t"))
    assert journal.runs.settle("t", token=lease.token, state="FAILURE", final=True) == "LOST"
    assert journal.store.redis.hgetall(journal.store.task_key("t")) == before


def test_a_retry_keeps_its_answers_but_for_those_it_asks_again(journal: Journal) -> None:
    asked = capture(journal, None, None)
    journal.answers.add(LANE, [(one, outcome(one)) for one in asked.custom_ids])
    lease, _ = claim(journal, asked.task_id)
    journal.runs.settle(asked.task_id, token=lease.token, state="RETRY", final=False, ask_again=[1])
    _, claimed = claim(journal, asked.task_id, retries=1)
    assert [entry.number for entry in claimed.entries] == [0]
    assert claimed.next_number == 2


def test_a_settled_task_leaves_a_mark_and_no_more(journal: Journal) -> None:
    asked = capture(journal)
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    lease, _ = claim(journal, asked.task_id)
    journal.runs.settle(asked.task_id, token=lease.token, state="SUCCESS", final=True)
    left = journal.store.redis.hgetall(journal.store.task_key(asked.task_id))
    mark = {name: value for name, value in left.items() if not name.startswith((b"was:", b"name"))}
    assert mark == {b"nesting": b"0", b"retries": b"0", b"done": b"SUCCESS", b"calls": b"1"}
    # For people to look at, without a word of what was asked or answered.
    record = journal.views.task(asked.task_id)
    assert record is not None
    assert [(call.status_code, call.place) for call in record.calls] == [(200, "answered")]
    assert journal.views.question(asked.custom_ids[0]) is None
    assert journal.views.outcome(asked.custom_ids[0]) is None
    assert not journal.store.redis.exists(journal.store.bodies_key(asked.task_id))
    assert (journal.waiting.count(), journal.resuming.count()) == (0, 0)


def test_a_mark_that_is_kept_for_no_time_at_all_goes(redis_url: str, journal: Journal) -> None:
    hasty = make(redis_url, batchq_keep_done=0.001)
    lease, _ = claim(hasty, "t")
    hasty.runs.settle("t", token=lease.token, state="SUCCESS", final=True)
    wait_until(
        lambda: not hasty.store.redis.exists(hasty.store.task_key("t")),
        description="the mark is gone",
    )


# leases


def test_a_lease_is_held_by_one(journal: Journal) -> None:
    with journal.lanes.lease(LANE) as lease:
        assert lease is not None
        with journal.lanes.lease(LANE) as second:
            assert second is None
        assert journal.store.renew([lease, Lease(lease.key, "a stranger")], SECOND) == [True, False]
    with journal.lanes.lease(LANE) as third:
        assert third is not None


def test_a_lease_is_renewed_while_it_is_held(redis_url: str, journal: Journal) -> None:
    with make(redis_url, batchq_lease=0.3).lanes.lease(LANE) as lease:
        assert lease is not None
        until = journal.clock.now() + 900
        wait_until(lambda: journal.clock.now() > until, description="three leases have passed")
        assert journal.store.redis.get(lease.key) == lease.token.encode()


def test_a_stranger_does_not_release(journal: Journal) -> None:
    lease = held(journal)
    assert journal.store.word("release", [lease.key], arguments(token="a stranger")) == "LOST"
    assert journal.store.word("release", [lease.key], arguments(token=lease.token)) == "RELEASED"
    assert journal.store.word("release", [lease.key], arguments(token=lease.token)) == "LOST"


def test_the_rightful_run_gets_its_lease_back(journal: Journal) -> None:
    """It ran out while Redis was away: as long as nobody has claimed, the run is still its own."""
    lease, _ = claim(journal, "t")
    journal.store.redis.delete(lease.key)
    assert journal.store.renew([lease], SECOND) == [True]
    other = Lease(lease.key, "a stranger", owner=lease.owner)
    journal.store.redis.delete(lease.key)
    assert journal.store.renew([other], SECOND) == [False]


# seal


def test_a_lane_is_sealed_in_the_order_it_was_asked(journal: Journal) -> None:
    first = capture(journal, *[chat(f"{number}") for number in range(9)])
    assert sealed(journal) == (9, False)
    assert list(journal.lines.ids("b1")) == first.custom_ids
    assert journal.lanes.all() == []
    assert set(journal.answers.places(first.custom_ids)) == {"batch:b1"}
    known = record(journal)
    assert (known.state, known.lines, known.lane) == ("sealed", 9, LANE)
    assert known.bytes == sum(each.size for each in first.prompts)
    assert sealed(journal) == (0, False)


@pytest.mark.parametrize(
    ("limits", "moved"),
    [({"lines": 2}, 2), ({"bytes": 608}, 2), ({"embedding_inputs": 9}, 3), ({"tokens": 49}, 4)],
)
def test_a_batch_is_full_at_each_of_its_limits(
    journal: Journal, limits: dict[str, Any], moved: int
) -> None:
    body = chat("x" * 20)
    asked = [capture(journal, body, inputs=3, tokens=12) for _ in range(6)]
    assert asked[0].prompts[0].size == 203
    assert sealed(journal, **limits) == (moved, True)
    (left,) = journal.lanes.all()
    assert (left.prompts, left.tokens) == (6 - moved, 12 * (6 - moved))


def test_the_first_prompt_of_a_batch_always_goes(journal: Journal) -> None:
    capture(journal, tokens=1_000)
    assert sealed(journal, tokens=1) == (1, False)


def test_nothing_joins_a_batch_whose_file_is_on_its_way(journal: Journal) -> None:
    """A worker that slept while it filled a batch put prompts into it that were in no file."""
    capture(journal)
    sealed(journal)
    later = capture(journal)
    journal.batches.advance("b1", held(journal), due=SECOND, upload_intent_at=journal.clock.now())
    assert sealed(journal) == (0, True)
    assert journal.answers.places(later.custom_ids) == ["lane"]
    assert sealed(journal, "b2") == (1, False)


def test_a_prompt_whose_task_is_forgotten_is_not_asked(journal: Journal) -> None:
    gone, stays = capture(journal), capture(journal)
    journal.store.redis.delete(
        journal.store.task_key(gone.task_id), journal.store.bodies_key(gone.task_id)
    )
    assert sealed(journal) == (1, False)
    assert list(journal.lines.ids("b1")) == stays.custom_ids
    assert journal.lanes.all() == []


def test_an_answered_prompt_is_not_asked_again(journal: Journal) -> None:
    """An answer that was given past the lane left its prompt there, and it was paid for twice."""
    asked = capture(journal, None, None)
    elsewhere = Lane(account="default", endpoint="/v1/responses", model="other")
    journal.answers.add(elsewhere, [(asked.custom_ids[0], outcome("first"))])
    assert sealed(journal) == (1, False)
    assert list(journal.lines.ids("b1")) == asked.custom_ids[1:]
    assert journal.answers.places(asked.custom_ids) == ["answered", "batch:b1"]
    assert journal.store.redis.hgetall(journal.store.lane_keys(LANE)[1]) == {}


# requeue


def test_unanswered_prompts_go_back_where_they_were(journal: Journal) -> None:
    first, later = capture(journal, task_id="a"), capture(journal, task_id="b")
    sealed(journal, lines=1)
    assert journal.lanes.requeue(record(journal), first.custom_ids, use_attempt=True) == {
        first.custom_ids[0]: "REQUEUED"
    }
    assert journal.lanes.requeue(record(journal), first.custom_ids, use_attempt=True) == {
        first.custom_ids[0]: "ELSEWHERE"
    }
    sealed(journal, "b2")
    assert list(journal.lines.ids("b2")) == ids([first, later])


def test_attempts_run_out(journal: Journal) -> None:
    asked = capture(journal)
    words: list[str] = []
    for number in range(3):
        sealed(journal, f"b{number}")
        words += journal.lanes.requeue(
            record(journal, f"b{number}"), asked.custom_ids, use_attempt=True
        ).values()
    assert words == ["REQUEUED", "REQUEUED", "EXHAUSTED"]


def test_a_requeue_that_uses_no_attempt_goes_on_for_ever(journal: Journal) -> None:
    asked = capture(journal)
    for number in range(5):
        sealed(journal, f"b{number}")
        words = journal.lanes.requeue(
            record(journal, f"b{number}"), asked.custom_ids, use_attempt=False
        )
        assert set(words.values()) == {"REQUEUED"}


def test_one_attempt_is_one_batch(redis_url: str, journal: Journal) -> None:
    strict = make(redis_url, batchq_max_attempts=1)
    asked = capture(strict)
    sealed(strict)
    words = strict.lanes.requeue(record(strict), asked.custom_ids, use_attempt=True)
    assert set(words.values()) == {"EXHAUSTED"}


# answer


def test_the_first_outcome_stands_and_the_last_one_frees_the_task(journal: Journal) -> None:
    asked = capture(journal, None, None)
    one, two = asked.custom_ids
    sealed(journal)
    assert journal.answers.add(LANE, [(one, outcome("first"))]) == ["ANSWERED"]
    assert journal.answers.add(LANE, [(one, outcome("second"))]) == ["ALREADY"]
    assert journal.resuming.count() == 0
    assert journal.answers.add(LANE, [(two, outcome("other"))]) == ["READY"]
    assert (journal.waiting.count(), journal.resuming.count()) == (0, 1)
    assert outcomes(journal, asked) == [outcome("first"), outcome("other")]
    assert journal.tasks.messages([asked.task_id]) == [message(asked.task_id)]
    assert journal.tallies.counters() == {"captured": 2, "answered": 2}


def test_a_foreign_key_among_many_answers_stops_none_of_them(journal: Journal) -> None:
    """Many rows are one call of a script: none of them may end it for its neighbours."""
    tasks = [capture(journal) for _ in range(101)]
    sealed(journal)
    bad = tasks[50]
    journal.store.redis.set(journal.store.task_key(bad.task_id), "another's", ex=60)
    given = journal.answers.give(LANE, [(one, outcome()) for one in ids(tasks)], batch="b1")
    for task, (word, kept) in zip(tasks, given, strict=True):
        expected = (
            ("BROKEN", None)
            if task is bad
            else ("READY", journal.tasks.messages([task.task_id])[0])
        )
        assert (word, journal.tasks.message(task.task_id, kept)) == expected


def test_what_ends_one_answer_keeps_none_behind_it_from_theirs(journal: Journal) -> None:
    """It is raised once all have had their turn."""
    tasks = [capture(journal) for _ in range(3)]
    sealed(journal)
    journal.store.redis.set(journal.store.key("resuming"), "another's", ex=60)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        journal.answers.give(LANE, [(one, outcome()) for one in ids(tasks)])
    assert journal.answers.places(ids(tasks)) == ["answered"] * 3


def test_nobody_asks_this(journal: Journal) -> None:
    assert journal.answers.add(LANE, [("nobody-0", outcome())]) == ["UNKNOWN"]


def test_a_late_answer_saves_the_second_asking(journal: Journal) -> None:
    asked = capture(journal)
    sealed(journal)
    journal.lanes.requeue(record(journal), asked.custom_ids, use_attempt=True)
    assert journal.answers.add(LANE, [(asked.custom_ids[0], outcome())]) == ["READY"]
    assert [(lane.prompts, lane.bytes, lane.tokens) for lane in journal.lanes.all()] == [(0, 0, 0)]
    assert sealed(journal, "b2") == (0, False)
    assert journal.lanes.all() == []


# tasks on their way back


def test_a_message_that_was_sent_is_not_sent_again_at_once(journal: Journal) -> None:
    asked = capture(journal)
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == [], (
        "whoever brought the answer is about to"
    )
    (ready,) = journal.store.redis.zrange(journal.store.key("resuming"), 0, 0, withscores=True)
    journal.store.redis.zadd(journal.store.key("resuming"), {asked.task_id: ready[1] + 9_000})
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == [asked.task_id], (
        "it was never sent"
    )
    journal.resuming.sent([asked.task_id])
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == []
    assert journal.resuming.look().stuck(unclaimed_for=timedelta(milliseconds=-1)) == [
        asked.task_id
    ]


def test_sent_of_a_task_that_is_gone_writes_nothing(journal: Journal) -> None:
    journal.resuming.sent(["nobody"])
    assert journal.store.redis.keys("*") == []


def test_a_run_that_died_with_its_answers_is_stuck(journal: Journal) -> None:
    asked = capture(journal)
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    journal.resuming.sent([asked.task_id])
    lease, _ = claim(journal, asked.task_id)
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == []
    journal.store.redis.delete(lease.key)
    assert journal.resuming.look().stuck(unclaimed_for=SECOND) == [asked.task_id]


def test_a_task_whose_journal_ran_out_waits_no_more(redis_url: str, journal: Journal) -> None:
    """Its prompts were in the lane of an account that had gone; it was counted for ever."""
    short = make(redis_url, batchq_keep_journal=0.6, batchq_batch_deadline=0.5)
    stays, gone = capture(journal), capture(short)
    wait_until(
        lambda: not short.store.redis.exists(short.store.task_key(gone.task_id)),
        description="it has run out",
    )
    short.waiting.forget_expired()
    journal.waiting.forget_expired()
    assert journal.store.redis.zrange(journal.store.key("waiting"), 0, -1) == [
        stays.task_id.encode()
    ]


# drop


def test_a_dropped_task_takes_its_prompts_along(journal: Journal) -> None:
    gone, stays = capture(journal, None, None), capture(journal)
    journal.tasks.drop(gone.task_id)
    (lane,) = journal.lanes.all()
    assert (lane.prompts, lane.bytes) == (1, stays.prompts[0].size)
    assert lane.tokens == stays.prompts[0].tokens
    assert journal.waiting.count() == 1
    journal.tasks.drop(stays.task_id)
    assert not journal.store.redis.exists(*journal.store.lane_keys(LANE))
    assert journal.answers.add(LANE, [(gone.custom_ids[0], outcome())]) == ["UNKNOWN"]


def test_a_dropped_task_does_not_run_again(journal: Journal) -> None:
    """Rescue dropped a finished task with its mark; a third delivery ran it, and paid, again."""
    asked = capture(journal)
    journal.tasks.drop(asked.task_id)
    journal.tasks.drop(asked.task_id)
    assert claim(journal, asked.task_id)[1].word == "DONE"
    journal.tasks.drop("nobody")


# batches


def test_only_the_holder_of_the_lease_advances_and_closes_a_batch(journal: Journal) -> None:
    capture(journal)
    sealed(journal)
    lease, stranger = held(journal), Lease(journal.store.key("lease", "batch", "b1"), "a stranger")
    assert journal.batches.advance("b1", stranger, due=SECOND, state="uploaded") == "LOST"
    assert record(journal).state == "sealed"
    assert (
        journal.batches.advance("b1", lease, due=timedelta(minutes=1), state="uploaded")
        == "ADVANCED"
    )
    assert record(journal).state == "uploaded"
    assert timedelta(seconds=50) < journal.batches.due_in("b1") <= timedelta(minutes=1)
    assert journal.batches.lateness() == {}
    assert journal.batches.close(record(journal), stranger) == "LOST"
    assert journal.batches.close(record(journal), lease, status="completed") == "CLOSED"
    assert journal.batches.close(record(journal), lease, status="completed") == "LOST"
    assert journal.batches.open() == []
    assert [(one.id, one.state) for one in journal.batches.closed(5)] == [("b1", "closed")]


def test_one_step_at_a_time(journal: Journal) -> None:
    capture(journal)
    sealed(journal)
    with journal.batches.lease("b1") as lease:
        assert lease is not None
        with journal.batches.lease("b1") as second:
            assert second is None
    with journal.batches.lease("nobody's") as gone:
        assert gone is None
    with journal.batches.lease("b1") as third:
        assert third is not None


def killed(journal: Journal, times: int = 1, **fields: Any) -> None:
    """A step on the batch begins, records what it does, and its worker dies."""
    for _ in range(times):
        lease = journal.batches.begin("b1")
        assert lease is not None
        if fields:
            assert journal.batches.advance("b1", lease, due=timedelta(0), **fields) == "ADVANCED"
        journal.store.redis.delete(lease.key)  # as when it runs out


def test_a_batch_that_kills_its_workers_is_set_aside(journal: Journal) -> None:
    """One whose file does not fit into memory took every worker along, one after the other."""
    capture(journal)
    sealed(journal)
    killed(journal, 3)
    with journal.batches.lease("b1") as lease:
        assert lease is None
    assert journal.batches.begin("b1") is None, "it is not only the step that finds it dead"
    dead = record(journal)
    assert "killed their workers" in dead.note
    assert dead.dead_at
    assert timedelta(hours=25) < journal.batches.due_in("b1") <= timedelta(hours=26)
    assert journal.batches.revive("b1")
    assert journal.batches.due_in("b1") <= timedelta(0)
    assert record(journal).dead_at == 0
    assert not journal.batches.revive("b1")
    killed(journal, 2)
    with journal.batches.lease("b1") as lease:
        assert lease is not None


def test_a_step_that_ends_in_order_or_gets_on_is_none_of_the_killed(journal: Journal) -> None:
    capture(journal)
    sealed(journal)
    killed(journal, 2)
    with journal.batches.lease("b1") as lease:
        assert lease is not None
    killed(journal, 2)
    killed(journal, 1, state="uploaded")
    killed(journal, 1, state="submitted")
    assert record(journal).crashes == 0
    killed(journal, 1)
    journal.batches.gets_on("b1")
    killed(journal, 2)
    assert record(journal).crashes == 2
    with journal.batches.lease("b1") as lease:
        assert lease is None


def test_a_step_under_way_is_not_woken(journal: Journal) -> None:
    capture(journal)
    sealed(journal)
    with journal.batches.lease("b1"):
        assert not journal.batches.wake("b1", longest=SECOND)
    assert journal.batches.wake("b1", longest=SECOND)


def test_a_late_batch_is_woken_once_in_a_while(journal: Journal) -> None:
    capture(journal)
    sealed(journal)
    late = wait_until(journal.batches.lateness, description="it is late")
    assert list(late) == ["b1"]
    assert journal.batches.wake("b1", longest=SECOND, chain="new")
    assert not journal.batches.wake("b1", longest=SECOND, chain="newer")
    assert record(journal).chain == "new"
    assert journal.batches.due_in("b1") <= timedelta(0), "the step that is woken is due now"


def test_the_pause_between_two_wakes_doubles(redis_url: str, journal: Journal) -> None:
    """A long Celery queue filled up with the same step again and again."""
    hasty = make(redis_url, batchq_lease=0.1)
    capture(journal)
    sealed(journal)
    woken_at: list[int] = []

    def wake() -> bool:
        if hasty.batches.wake("b1", longest=timedelta(milliseconds=400)):
            woken_at.append(
                int(journal.store.redis.hget(journal.store.batch_keys("b1")[0], "woken_at") or 0)
            )
        return len(woken_at) == 6

    wait_until(wake, description="it is woken six times", every=0.005)
    pauses = [later - earlier for earlier, later in pairwise(woken_at)]
    for pause, least in zip(pauses, (100, 200, 400, 400, 400), strict=True):
        assert pause >= least, pauses
    # A step that is taken sets it back.
    with hasty.batches.lease("b1"):
        pass
    assert hasty.batches.wake("b1", longest=SECOND)


def test_the_lines_of_a_batch_are_its_bodies(journal: Journal) -> None:
    long = chat("long " * 500)
    asked = capture(journal, chat("short"), long)
    gone = capture(journal)
    sealed(journal)
    journal.store.redis.delete(journal.store.bodies_key(gone.task_id))
    lines = list(journal.lines.of(record(journal)))
    assert sorted(custom_id for custom_id, _ in lines) == sorted(ids([asked, gone]))
    found = dict(lines)
    assert [len(found[each.custom_id]) for each in asked.prompts] == [
        each.size for each in asked.prompts
    ]
    assert long in found[asked.custom_ids[1]]
    assert found[gone.custom_ids[0]] == b""


def test_lines_come_in_their_order_however_large_they_are(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bodies are read at once, and one that is too large alone: none is left out by that."""
    monkeypatch.setattr("batchq.journal.lines._BODIES", 300)
    sizes = (1, 5_000, 1, 1, 5_000, 5_000, 1)
    tasks = [capture(journal, chat(urandom(size).hex())) for size in sizes]
    foreign = capture(journal)
    sealed(journal)
    journal.store.redis.set(journal.store.bodies_key(tasks[2].task_id), "another's", ex=60)
    journal.store.redis.set(journal.store.task_key(foreign.task_id), "another's", ex=60)
    names = Counter[str]()
    lines = list(journal.lines.of(record(journal), names))
    assert [custom_id for custom_id, _ in lines] == list(journal.lines.ids("b1"))
    assert [custom_id for custom_id, line in lines if not line] == tasks[2].custom_ids
    assert names.total() == len(tasks)


# limits


def test_a_limit_is_of_an_account_and_a_model(journal: Journal) -> None:
    labelled = Lane(account=LANE.account, endpoint="/v1/responses", model=LANE.model, label="x")
    other = Lane(account="other", endpoint=LANE.endpoint, model=LANE.model)
    journal.lanes.learn_limit(LANE, 500)
    assert [journal.lanes.learned_limit(lane) for lane in (LANE, labelled, other)] == [
        500,
        500,
        None,
    ]
    capture(journal, tokens=70)
    sealed(journal)
    assert [journal.lanes.queued_tokens(lane) for lane in (LANE, labelled, other)] == [70, 70, 0]


def test_a_lane_pauses_for_a_while(journal: Journal) -> None:
    capture(journal)
    assert journal.lanes.all()[0].paused is None
    journal.lanes.pause(LANE, timedelta(milliseconds=200))
    assert journal.lanes.all()[0].paused
    wait_until(lambda: journal.lanes.all()[0].paused is None, description="the lane goes on")


# What scripts are told


@pytest.mark.parametrize("task_id", ["a\0b", "é😀", 'a "quote" and a \\', "\x7f\u2028", "a-1"])
def test_an_id_may_be_any_text(journal: Journal, task_id: str) -> None:
    asked = capture(journal, task_id=task_id)
    assert sealed(journal) == (1, False)
    assert list(journal.lines.ids("b1")) == asked.custom_ids
    assert journal.answers.places(asked.custom_ids) == ["batch:b1"]
    batch = journal.batches.get("b1")
    assert batch is not None
    words = journal.lanes.requeue(batch, asked.custom_ids, use_attempt=False)
    assert words == {asked.custom_ids[0]: "REQUEUED"}
    assert journal.answers.add(LANE, [(asked.custom_ids[0], outcome())], batch="b1") == ["READY"]
    journal.resuming.sent([task_id])
    assert claim(journal, task_id)[1].entries[0].outcome == outcome()


@pytest.mark.parametrize("tokens", [0, 1, 10**15, 2**53])
def test_a_number_is_kept_as_it_is(journal: Journal, tokens: int) -> None:
    """Lua writes 10**15 as 1e+15, where it makes a text of it by itself."""
    asked = capture(journal, tokens=tokens)
    kept = journal.store.redis.hget(journal.store.task_key(asked.task_id), "0:tokens")
    assert kept == str(tokens).encode()
    assert journal.lanes.all()[0].tokens == tokens
    sealed(journal)
    batch = journal.batches.get("b1")
    assert batch is not None
    assert batch.tokens == tokens
    lease = journal.batches.begin("b1")
    assert lease is not None
    due = timedelta(seconds=1)
    assert journal.batches.advance("b1", lease, due=due, looks=tokens) == "ADVANCED"
    advanced = journal.batches.get("b1")
    assert advanced is not None
    assert advanced.looks == tokens


def test_what_is_none_is_not_said() -> None:
    """In Lua a null of JSON is true."""
    assert arguments(b"body", token="t", batch=None, alone=False) == [
        '{"token":"t","alone":false}',
        b"body",
    ]
