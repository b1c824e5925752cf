"""What a revoke does to the journal, from each state a task can be in; and the sums of lanes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery

from batchq.decide.room import NO_LIMIT
from batchq.journal import Journal
from batchq.journal.store import Store
from batchq.prompt import Lane
from batchq.settings.config import settings
from batchq.settings.limits import Limits
from tests.harness import keys_without_end
from tests.journals import (
    DOCUMENTED,
    LANE,
    Asked,
    capture,
    chat,
    claim,
    message,
    outcome,
    prompt,
)

OTHER = Lane(account="default", endpoint="/v1/embeddings", model="text-embedding-3-small")


@pytest.fixture
def journal(redis_url: str) -> Iterator[Journal]:
    app: Celery[Any] = Celery("journal", set_as_current=False)
    app.conf.update(batchq_redis_url=redis_url)
    yield Journal(Store(redis.Redis.from_url(redis_url), settings(app)))
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert keys_without_end(client, documented=DOCUMENTED) == []


def sizes(journal: Journal) -> dict[str, tuple[int, int, int]]:
    return {one.lane.name: (one.prompts, one.bytes, one.tokens) for one in journal.lanes.all()}


def size_of(*asked: Asked) -> tuple[int, int, int]:
    prompts = [each for one in asked for each in one.prompts]
    return len(prompts), sum(p.size for p in prompts), sum(p.tokens for p in prompts)


def fields(journal: Journal, task_id: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = journal.store.redis.hgetall(journal.store.task_key(task_id))
    return found


# Waiting


def test_a_waiting_task_leaves_its_lanes_and_keeps_its_message(journal: Journal) -> None:
    """Until Celery has been told, rescue can do it too."""
    stays = capture(journal)
    asked = capture(journal, None, chat("a longer question, of the same task"))
    assert journal.revocations.revoke(asked.task_id, token="t").word == "REVOKED"
    assert sizes(journal) == {LANE.name: size_of(stays)}
    assert fields(journal, asked.task_id)[b"done"] == b"REVOKED"
    assert journal.tasks.messages([asked.task_id]) == [message(asked.task_id)]
    assert (journal.waiting.count(), journal.resuming.count()) == (1, 1)
    assert not journal.store.redis.exists(journal.store.bodies_key(asked.task_id))


def test_the_message_comes_with_the_word(journal: Journal) -> None:
    asked = capture(journal)
    assert journal.revocations.revoke(asked.task_id, token="t").message == message(asked.task_id)


def test_it_is_revoked_by_one(journal: Journal) -> None:
    asked = capture(journal)
    words = [
        journal.revocations.revoke(asked.task_id, token=token).word for token in ("a", "b", "a")
    ]
    assert words == ["REVOKED", "ALREADY", "ALREADY"]


def test_who_told_celery_lets_go_of_it(journal: Journal) -> None:
    asked = capture(journal)
    journal.revocations.revoke(asked.task_id, token="a")
    journal.revocations.let_go(asked.task_id, token="a")
    assert set(fields(journal, asked.task_id)) == {b"nesting", b"retries", b"done", b"calls"}
    assert (journal.waiting.count(), journal.resuming.count()) == (0, 0)
    assert journal.revocations.revoke(asked.task_id, token="b").word == "ALREADY"


def test_another_finishes_what_a_dead_worker_began(journal: Journal) -> None:
    asked = capture(journal)
    journal.revocations.revoke(asked.task_id, token="dead")
    assert journal.resuming.look().revoked == {asked.task_id}
    journal.store.redis.delete(journal.store.task_lease_key(asked.task_id))
    again = journal.revocations.revoke(asked.task_id, token="b")
    assert (again.word, again.message) == ("REVOKED", message(asked.task_id))


def test_an_answer_that_comes_after_it_is_dropped(journal: Journal) -> None:
    asked = capture(journal)
    journal.lanes.seal(LANE, "b1", limits=Limits(), tokens=NO_LIMIT)
    assert journal.revocations.revoke(asked.task_id, token="t").word == "REVOKED"
    assert journal.answers.add(LANE, [(asked.custom_ids[0], outcome())]) == ["UNKNOWN"]
    assert journal.store.redis.zscore(journal.store.key("resuming"), asked.task_id) == 0, (
        "to be told"
    )
    batch = journal.batches.get("b1")
    assert batch is not None
    assert journal.lanes.requeue(batch, asked.custom_ids, use_attempt=True) == {
        asked.custom_ids[0]: "ELSEWHERE"
    }
    assert sizes(journal) == {}


def test_its_last_answer_came_first_and_its_message_is_under_way(journal: Journal) -> None:
    """One of the two wins. Here the answer did, and still the task is revoked, not run."""
    asked = capture(journal)
    assert journal.answers.add(LANE, [(asked.custom_ids[0], outcome())]) == ["READY"]
    assert journal.revocations.revoke(asked.task_id, token="t").word == "REVOKED"
    assert claim(journal, asked.task_id)[1].word == "DONE"


def test_a_retry_of_it_that_was_sent_all_the_same_does_not_run(journal: Journal) -> None:
    asked = capture(journal)
    journal.revocations.revoke(asked.task_id, token="t")
    assert claim(journal, asked.task_id, retries=1)[1].word == "DONE"
    journal.revocations.let_go(asked.task_id, token="t")
    assert claim(journal, asked.task_id, retries=1)[1].word == "DONE"
    assert claim(journal, asked.task_id)[1].word == "DONE"


def test_what_is_under_way_can_be_left_to_its_delivery(journal: Journal) -> None:
    """A worker that remembers a stamp discards the delivery, and says so: once is enough."""
    waits, comes = capture(journal), capture(journal)
    journal.answers.add(LANE, [(comes.custom_ids[0], outcome())])
    assert journal.revocations.revoke(waits.task_id, token="t", only_waiting=True).word == "REVOKED"
    assert journal.revocations.revoke(comes.task_id, token="t", only_waiting=True).word == "RUNNING"
    assert claim(journal, comes.task_id)[1].word == "REVOKED"


def test_prompts_asked_meanwhile_are_looked_at_again(journal: Journal) -> None:
    """Between the look for its lanes and the revoke the task went on, and asked in another lane."""
    asked = capture(journal)
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    stale = fields(journal, asked.task_id)
    again = capture(journal, task_id=asked.task_id, lane=OTHER)
    late = Journal(Store(journal.store.redis, journal.store.config))
    late.store.redis = _Reading(journal.store.redis, iter([stale, fields(journal, asked.task_id)]))
    assert late.revocations.revoke(again.task_id, token="t").word == "REVOKED"
    assert [prompts for prompts, *_ in sizes(journal).values()] == [0, 0]
    assert fields(journal, again.task_id)[b"done"] == b"REVOKED"


class _Reading:
    """A client whose HGETALL answers what it is given; all else is the server's."""

    def __init__(self, client: Any, replies: Iterator[Any]) -> None:
        self._client, self._replies = client, replies

    def hgetall(self, _: str) -> Any:
        return next(self._replies)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


# Running


def test_a_running_task_is_revoked_when_it_asks(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    assert journal.revocations.revoke("t", token="other").word == "RUNNING"
    given: Any = {"message": message("t"), "prompts": [prompt("t")], "next_number": 1}
    assert journal.runs.capture("t", token=lease.token, **given) == "REVOKED"
    assert journal.lanes.all() == []
    ended = journal.revocations.revoke("t", token=lease.token, message=message("t"))
    assert (ended.word, ended.message) == ("REVOKED", message("t"))


def test_a_running_task_that_ends_was_not_revoked(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    journal.revocations.revoke("t", token="other")
    assert journal.runs.settle("t", token=lease.token, state="SUCCESS", final=True) == "SETTLED"
    assert set(fields(journal, "t")) == {b"nesting", b"retries", b"done"}
    assert journal.revocations.revoke("t", token="other").word == "DONE"


def test_a_running_task_that_retries_ends_at_its_next_delivery(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    journal.revocations.revoke("t", token="other")
    journal.runs.settle("t", token=lease.token, state="RETRY", final=False)
    assert claim(journal, "t", retries=1)[1].word == "REVOKED"


def test_a_task_that_waits_for_its_retry_ends_at_that_delivery(journal: Journal) -> None:
    lease, _ = claim(journal, "t")
    journal.runs.settle("t", token=lease.token, state="RETRY", final=False)
    assert journal.revocations.revoke("t", token="other").word == "RUNNING"
    assert claim(journal, "t", retries=1)[1].word == "REVOKED"


def test_a_replaced_task_is_still_revoked(journal: Journal) -> None:
    """Its journal begins anew with the replacement, and the revoke was forgotten with the rest."""
    lease, _ = claim(journal, "t")
    journal.revocations.revoke("t", token="other")
    journal.runs.keep("t", message=message("t"))
    journal.runs.settle("t", token=lease.token, state="IGNORED", final=True)
    again = journal.runs.lease("t")
    word = journal.runs.claim("t", token=again.token, nesting=1, retries=0).word
    assert word == "REVOKED"


def test_a_replay_that_died_is_revoked_at_once(journal: Journal) -> None:
    asked = capture(journal)
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    lease, _ = claim(journal, asked.task_id)
    assert journal.revocations.revoke(asked.task_id, token="t").word == "RUNNING"
    journal.store.redis.delete(lease.key)
    assert journal.resuming.look().revoked == {asked.task_id}
    assert journal.revocations.revoke(asked.task_id, token="t").word == "REVOKED"
    assert (
        journal.runs.settle(asked.task_id, token=lease.token, state="SUCCESS", final=True) == "LOST"
    )


def test_celery_s_word_ends_a_run_only_where_it_killed_it(journal: Journal) -> None:
    """A second delivery may be discarded while the first one runs."""
    lease, _ = claim(journal, "t")
    assert journal.revocations.let_go("t", token="other") == "RUNNING"
    assert journal.store.renew([lease], journal.store.config.lease) == [True]
    assert journal.revocations.let_go("t", token="other", alive=False) == "DROPPED"
    assert set(fields(journal, "t")) == {b"nesting", b"retries", b"done", b"calls"}
    assert journal.runs.settle("t", token=lease.token, state="SUCCESS", final=True) == "LOST"


# Others


def test_nothing_is_known_of_a_stranger(journal: Journal) -> None:
    assert journal.revocations.revoke("stranger", token="t").word == "UNKNOWN"
    asked = capture(journal)
    assert journal.tasks.known(["stranger", asked.task_id]) == [asked.task_id]


def test_a_task_is_found_by_its_stamps(journal: Journal) -> None:
    found = [_stamped(journal, stamps) for stamps in ({"a": ["1", "2"]}, {"b": ["1"]}, {})]
    journal.answers.add(LANE, [(found[1].custom_ids[0], outcome())])
    assert journal.revocations.stamped({"a": ["2", "9"]}) == [found[0].task_id]
    assert journal.revocations.stamped({"b": ["1"]}) == [found[1].task_id], "it is on its way back"
    assert journal.revocations.stamped({"a": ["9"], "c": ["1"]}) == []


def _stamped(journal: Journal, stamps: dict[str, list[str]]) -> Asked:
    asked = capture(journal)
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    lease, claimed = claim(journal, asked.task_id)
    assert journal.chords.tie(asked.task_id, token=lease.token, groups=(), stamps=stamps) == "NOTED"
    again = prompt(asked.task_id, claimed.next_number)
    given: Any = {"message": message(asked.task_id), "prompts": [again], "next_number": 2}
    assert journal.runs.capture(asked.task_id, token=lease.token, **given) == "CAPTURED"
    return Asked(task_id=asked.task_id, prompts=(again,))


# The sums of a lane


def test_a_forgotten_prompt_takes_its_share_of_the_totals_along(journal: Journal) -> None:
    """Its journal had run out, so nobody knew its size any more, and the totals kept it.

    A lane that seems fuller than it is is flushed before its time.
    """
    # Of prompts asked in one millisecond the ids say which goes first.
    gone, goes, stays = (capture(journal, task_id=task_id) for task_id in "abc")
    journal.store.redis.delete(journal.store.task_key(gone.task_id))
    assert journal.lanes.seal(LANE, "b1", limits=Limits(lines=1), tokens=NO_LIMIT) == (1, True)
    assert journal.answers.places(goes.custom_ids) == ["batch:b1"]
    assert sizes(journal) == {LANE.name: size_of(stays)}


def test_a_replacement_leaves_no_prompt_in_a_lane(journal: Journal) -> None:
    """Its claim forgets all of the task's journal; so it has to wait until no prompt is out."""
    asked = capture(journal)
    lease = journal.runs.lease(asked.task_id)
    newer: Any = {"token": lease.token, "nesting": 1, "retries": 0}
    assert journal.runs.claim(asked.task_id, **newer).word == "WAITING"
    assert sizes(journal) == {LANE.name: size_of(asked)}
    journal.answers.add(LANE, [(asked.custom_ids[0], outcome())])
    assert journal.runs.claim(asked.task_id, **newer).word == "CLAIMED"
    assert [prompts for prompts, *_ in sizes(journal).values()] == [0]
    assert not journal.store.redis.exists(journal.store.key("totals", LANE.name))


def test_a_prompt_that_comes_back_while_its_task_is_dropped_leaves_its_lane(
    journal: Journal,
) -> None:
    """It was in a batch when rescue looked, and in its lane a moment later: there it stayed."""
    asked = capture(journal)
    journal.lanes.seal(LANE, "b1", limits=Limits(lines=1), tokens=NO_LIMIT)
    stays = capture(journal)
    looked = fields(journal, asked.task_id)
    batch = journal.batches.get("b1")
    assert batch is not None
    journal.lanes.requeue(batch, asked.custom_ids, use_attempt=True)
    late = Journal(Store(journal.store.redis, journal.store.config))
    late.store.redis = _Reading(journal.store.redis, iter([looked]))
    late.tasks.drop(asked.task_id)
    assert sizes(journal) == {LANE.name: size_of(stays)}
