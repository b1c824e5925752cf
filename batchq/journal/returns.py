"""Answers, and the tasks that they send on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from batchq.errors import JournalUnreadable
from batchq.journal.outside import Outside
from batchq.journal.records import (
    Receipt,
    Resuming,
)
from batchq.journal.replies import (
    CHUNK,
    chunks,
    count_of,
    left_out,
    milliseconds,
    parts_of,
    prompts_out,
    replies_of,
)
from batchq.journal.scripts import Call
from batchq.prompt import Lane, Outcome
from batchq.prompt import custom_id as id_of

__all__ = ["Returns"]

_OUT_OF_ORDER = 5_000
"""Milliseconds by which messages may be taken in another order than that of their records."""


class Returns(Outside):
    """Outcomes of prompts, and tasks on their way back."""

    def answer(
        self,
        lane: Lane,
        outcomes: Sequence[tuple[str, Outcome]],
        receipts: Mapping[str, Receipt] | None = None,
        *,
        batch: str = "",
    ) -> list[str]:
        """Give prompts (by custom id) their outcomes; returns a word for each, see answer.lua.

        An outcome from a batch is only for a prompt that was asked in that batch.
        """
        calls: list[Call] = []
        now = self.now() if outcomes else 0
        for custom_id, outcome in outcomes:
            task_id, number = parts_of(custom_id)
            keys = [
                *(
                    self._task(task_id),
                    self.key("waiting"),
                    self.key("resuming"),
                    self.key("counters"),
                ),
                *self._lane(lane),
            ]
            args = [task_id, number, custom_id, self._codec.seal(outcome.to_bytes())]
            receipt = (receipts or {}).get(custom_id) or Receipt.of(outcome)
            args += [self._keep_journal, receipt.to_json(answered_at=now), batch]
            calls.append((keys, args))
        words = self._words("answer", calls)
        for (custom_id, _), word in zip(outcomes, words, strict=True):
            if word == "BROKEN":
                error = JournalUnreadable("its task's record")
                left_out(f"the answer to {custom_id}", error, prompt=custom_id)
        return words

    def places(self, custom_ids: Sequence[str]) -> list[str | None]:
        """Where each prompt is: ``lane``, ``batch:<id>``, ``answered``, or None if forgotten."""
        pipe = self._redis.pipeline(transaction=False)
        for task_id, number in map(parts_of, custom_ids):
            pipe.hget(self._task(task_id), f"{number}:place")
        return [
            reply.decode() if isinstance(reply, bytes) and reply else None
            for reply in replies_of(pipe)
        ]

    def messages(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The messages that resume these tasks; None where there is nothing to resume.

        Raises JournalUnreadable where the message of one of them is; see `readable`.
        """
        pipe = self._redis.pipeline(transaction=False)
        for task_id in task_ids:
            pipe.hmget(self._task(task_id), "next", "message")
        return [
            self._read(newer or kept, f"the message of task {task_id}") if newer or kept else None
            for task_id, (newer, kept) in zip(task_ids, pipe.execute(), strict=True)
        ]

    def postpone(self, task_ids: Iterable[str]) -> None:
        """Resume these tasks later, as if their message had been sent just now."""
        now = self.now()
        for task_id in task_ids:
            self._redis.zadd(self.key("resuming"), {task_id: now}, xx=True)

    def stuck(
        self, *, unclaimed_for: timedelta, overtaken_for: timedelta | None = None
    ) -> list[str]:
        """Tasks that have all their answers, or were kept for later, and that nobody resumes.

        Their message was never sent, or the run that took it died, or it was sent long ago and no
        run took it: a message may also wait in a long queue, so that time doubles with each one.
        ``overtaken_for`` is the time for one behind which a later one was taken: most likely it was
        lost with the Redis or the worker that had it in its hands.
        """
        now, tasks = self.now(), self._on_their_way()
        taken = max((one.sent_at for one in tasks if one.held), default=0)
        stuck: list[str] = []
        for one in tasks:
            # For a run that died a message is sent at once, and again as for all others.
            died = one.run is not None and one.run != one.sent_for
            patience = unclaimed_for
            if overtaken_for is not None and taken - one.sent_at > _OUT_OF_ORDER:
                patience = min(overtaken_for, unclaimed_for)
            late = now - one.sent_at > one.grown(patience)
            if one.sent_at <= 0:
                # Whoever brought its last answer sends it, if nothing happens to them.
                late = now + one.sent_at > milliseconds(self._config.lease)
            if not one.held and (died or late):
                stuck.append(one.task_id)
        return stuck

    def unclaimed(self, *, longer_than: timedelta, at_most: int) -> list[str]:
        """The tasks whose message no run has taken for so long, or doubly so with each one sent."""
        now = self.now()
        return [
            one.task_id
            for one in self._on_their_way()
            if not one.held
            and one.sends
            and one.sent_at > 0
            and now - one.sent_at > one.grown(longer_than)
        ][:at_most]

    def _on_their_way(self) -> list[Resuming]:
        found: list[tuple[bytes, float]] = self._redis.zrange(
            self.key("resuming"), 0, 9_999, withscores=True
        )
        sent = [(member.decode(errors="replace"), int(score)) for member, score in found]
        pipe = self._redis.pipeline(transaction=False)
        for task_id, _ in sent:
            pipe.exists(self._task_lease(task_id))
            pipe.hmget(self._task(task_id), "run", "sends", "sent_for")
        replies = replies_of(pipe)
        tasks: list[Resuming] = []
        for (task_id, sent_at), held, known in zip(sent, replies[::2], replies[1::2], strict=True):
            if isinstance(known, Exception):
                left_out(self._task(task_id), known, task_id=task_id)
                continue
            run, sends, sent_for = known
            one = Resuming(task_id, sent_at, bool(held), run, count_of(sends), sent_for)
            tasks.append(one)
        return tasks

    def sent(self, task_ids: Sequence[str]) -> None:
        """Note that the messages of these tasks were sent just now."""
        for chunk in chunks(task_ids):
            self._run("sent", [self.key("resuming"), *map(self._task, chunk)], chunk)

    def drop(self, task_id: str) -> None:
        """Forget a task that Celery knows to be final: nobody waits for its answers.

        What stays for a while is the mark that refuses a second delivery.
        """
        fields: dict[bytes, bytes] = self._redis.hgetall(self._task(task_id))
        keys = [self._task(task_id), self._bodies(task_id)]
        keys += [self.key("waiting"), self.key("resuming")]
        args: list[Any] = [task_id, max(1, milliseconds(self._config.keep_done))]
        for number, lane in prompts_out(fields):
            keys += self._lane(lane)
            args += [number, id_of(task_id, number)]
        outside = self._outside_of(task_id)
        self._word("drop", keys, args)
        self._delete(outside)

    def forget_expired(self) -> None:
        """Take tasks whose journal has run out from those that wait: no answer will do it. And
        from the dead, for there is nothing left to retry.
        """
        until = self.now() - self._keep_journal
        for key in (self.key("waiting"), self.key("dead")):
            oldest: list[bytes] = self._redis.zrangebyscore(key, "-inf", until, start=0, num=CHUNK)
            for task_id in oldest:
                if not self._redis.exists(self._task(task_id.decode(errors="replace"))):
                    self._redis.zrem(key, task_id)

    def nearly_forgotten(self) -> list[str]:
        """Tasks that still wait, and whose journal has less than a tenth of its time left."""
        tenth = self._keep_journal // 10
        until = self.now() - 9 * tenth
        found: list[bytes] = self._redis.zrangebyscore(self.key("waiting"), "-inf", until)
        pipe = self._redis.pipeline(transaction=False)
        for task_id in found:
            pipe.pttl(self._task(task_id.decode(errors="replace")))
        left: list[int] = pipe.execute()
        pairs = zip(found, left, strict=True)
        return [task_id.decode(errors="replace") for task_id, ends in pairs if 0 <= ends < tenth]

    def overdue_tasks(self, longest: timedelta) -> int:
        """How many tasks wait for answers to what they asked longer ago than that."""
        until = self.now() - milliseconds(longest)
        count: int = self._redis.zcount(self.key("waiting"), "-inf", until)
        return count

    def open_prompts(self, task_id: str) -> list[tuple[Lane, str]]:
        """The prompts of a task that have no outcome, by custom id, each with its lane."""
        fields: dict[bytes, bytes] = self._redis.hgetall(self._task(task_id))
        found: list[tuple[Lane, str]] = []
        for name, place in fields.items():
            number, _, what = name.decode(errors="replace").partition(":")
            if what == "place" and place != b"answered":
                record = json.loads(fields[f"{number}:record".encode()])
                found.append((Lane.from_name(record["lane"]), id_of(task_id, int(number))))
        return found

    def let_go(self, task_ids: Iterable[str]) -> None:
        """Resume these tasks no more: there is no message to do it with. What they know stays."""
        for task_id in task_ids:
            self._redis.zrem(self.key("resuming"), task_id)

    def waiting_tasks(self) -> int:
        count: int = self._redis.zcard(self.key("waiting"))
        return count

    def resuming_tasks(self) -> int:
        count: int = self._redis.zcard(self.key("resuming"))
        return count
