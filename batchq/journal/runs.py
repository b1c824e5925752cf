"""One run of a task's body, from its claim to its end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

from batchq.common.points import point
from batchq.journal.lease import Lease
from batchq.journal.outside import Outside
from batchq.journal.records import (
    KILLS,
    Claim,
    Entry,
    LongRun,
)
from batchq.journal.replies import (
    count_of,
    milliseconds,
    read_claim,
    to_dict,
)
from batchq.prompt import Lane, Prompt

__all__ = ["Runs"]

_LISTED = 100
"""How many of the longest runs are looked at."""


class Runs(Outside):
    """What a run of a body asks of the journal and writes into it."""

    def claim(self, task_id: str, *, token: str, nesting: int, retries: int) -> Claim:
        reply = self._run(
            "claim",
            [
                *(self._task(task_id), self._bodies(task_id), self._task_lease(task_id)),
                self.key("resuming"),
            ],
            [
                *(token, milliseconds(self._config.lease), nesting, retries),
                *(self._keep_journal, task_id, KILLS),
            ],
        )
        word = reply[0].decode()
        if word != "CLAIMED":
            return Claim(word=word)
        return read_claim(to_dict(reply[1]), self._codec, f"the journal of task {task_id}")

    def unclaim(self, task_id: str, *, token: str, message: bytes) -> str:
        """Give up a run that could not begin; its task is sent again later."""
        keys = [self._task(task_id), self._task_lease(task_id), self.key("resuming")]
        return self._word("unclaim", keys, [token, task_id, self._write(message)])

    def capture(
        self,
        task_id: str,
        *,
        token: str,
        message: bytes,
        prompts: Sequence[Prompt],
        next_number: int,
        name: str = "",
        read: Iterable[int] = (),
    ) -> str:
        """Write down what a run asked. ``read`` are the calls whose answers its task has read.

        Raises StorageAway, and nothing is written, where a large body cannot be kept.
        """
        with self._kept_outside(task_id, prompts) as kept:
            bodies = [kept.get(one.number) or self._write(one.body) for one in prompts]
            keys = [
                *(self._task(task_id), self._bodies(task_id), self._task_lease(task_id)),
                *(self.key(one) for one in ("waiting", "resuming", "lanes", "counters", "rounds")),
                *(key for one in prompts for key in self._lane(one.lane)),
            ]
            rounds = 1 + max((one.round for one in prompts), default=0)
            args: list[Any] = [token, task_id, self._write(message), self._keep_journal]
            args += [next_number, name, _numbers(read), rounds]
            for prompt, body in zip(prompts, bodies, strict=True):
                args += _asked(prompt, body)
            point("capture.call")
            return self._word("capture", keys, args)

    def body_of(self, task_id: str, number: int) -> bytes | None:
        """What a call of this task asks; None where that is not kept any more."""
        found: bytes | None = self._redis.hget(self._bodies(task_id), str(number))
        return self._body(found, f"call {number} of task {task_id}") if found else None

    def keep(self, task_id: str, *, message: bytes) -> str:
        """Keep the message of a delivery that found its task busy."""
        keys = [self._task(task_id), self.key("resuming")]
        return self._word("keep", keys, [task_id, self._write(message)])

    def note_step(self, task_id: str, *, token: str, name: str, value: str) -> str:
        """Write down the result of a step that the body runs once."""
        return self._note(task_id, token, {f"once:{name}": self._codec.seal(value.encode())})

    def note_live(self, task_id: str, *, token: str, entry: Entry) -> str:
        """Write down a call that a body made live, so that a replay does not pay for it again."""
        if entry.outcome is None:
            raise ValueError("a live call is written down with its outcome")
        lane = Lane(account="", endpoint=entry.endpoint, model=entry.model)
        record = {"lane": lane.name, "fingerprint": entry.fingerprint, "round": entry.round}
        fields = {
            f"{entry.number}:record": json.dumps(record),
            f"{entry.number}:outcome": self._codec.seal(entry.outcome.to_bytes()),
            f"{entry.number}:place": "answered",
            "calls": entry.number + 1,
        }
        return self._note(task_id, token, fields)

    def note_trace(self, task_id: str, *, token: str, trace: str) -> str:
        """Write down where in which trace a run is, for those that follow it."""
        return self._note(task_id, token, {"trace": trace})

    def _note(self, task_id: str, token: str, fields: Mapping[str, Any]) -> str:
        flat = [part for pair in fields.items() for part in pair]
        return self._word("note", [self._task(task_id)], [token, self._keep_journal, *flat])

    def settle(
        self,
        task_id: str,
        *,
        token: str,
        state: str,
        final: bool,
        ask_again: Iterable[int] = (),
        read: Iterable[int] = (),
    ) -> str:
        """End a run that asked nothing more, and drop the answers of the calls in ``ask_again``.

        ``read`` are the calls whose answers its task has read.
        """
        keep = milliseconds(self._config.keep_done) if final else self._keep_journal
        outside = self._outside_of(task_id, None if final else ask_again)
        word = self._word(
            "settle",
            [
                *(self._task(task_id), self._bodies(task_id), self._task_lease(task_id)),
                *(self.key(name) for name in ("waiting", "resuming")),
            ],
            [token, task_id, state, int(final), max(keep, 1), _numbers(read), *ask_again],
        )
        if word == "SETTLED":
            self._delete(outside)
        return word

    def bury(self, task_id: str, *, token: str, message: bytes, state: str) -> str:
        """End a run that failed because those before it killed their workers."""
        keys = [self._task(task_id), self._bodies(task_id), self._task_lease(task_id)]
        keys += [self.key("resuming"), self.key("dead")]
        args = [token, task_id, self._write(message), state, self._keep_journal]
        return self._word("bury", keys, args)

    def dead_tasks(self) -> list[tuple[str, int]]:
        """The tasks that killed their workers, newest first, each with when it failed by that."""
        found: list[tuple[bytes, float]] = self._redis.zrevrange(
            self.key("dead"), 0, -1, withscores=True
        )
        return [(member.decode(errors="replace"), int(score)) for member, score in found]

    def revive(self, name: str, *, ask_again: bool = False) -> Literal["task", "batch"] | None:
        """Let a dead task, or a batch that is set aside, be tried again; returns which it was.

        With ``ask_again``, what the batch's files do not say counts as not answered.
        """
        kinds: list[tuple[Literal["task", "batch"], str, str]] = [
            ("task", self._task(name), self.key("dead")),
            ("batch", self._batch(name)[0], self.key("batches")),
        ]
        for kind, key, index in kinds:
            keys = [key, index, self.key("resuming")]
            args = [name, kind, self._keep_journal, int(ask_again)]
            if self._word("revive", keys, args) == "REVIVED":
                return kind
        return None

    def task_lease(self, task_id: str, name: str = "") -> Lease:
        """The lease that a claim of this task's run takes."""
        return Lease(
            self._task_lease(task_id),
            secrets.token_hex(8),
            owner=self._task(task_id),
            run_of=f"{task_id} {name}",
        )

    def long_runs(self, *, longer_than: timedelta) -> list[LongRun]:
        """The bodies that have run for so long, the longest first; a hundred at most.

        The time counts from the first renewal of their lease, a few seconds after they began.
        """
        key, until = self.key("running"), self.now() - milliseconds(longer_than)
        listed: list[tuple[bytes, float]] = self._redis.zrangebyscore(
            key, "-inf", until, start=0, num=_LISTED, withscores=True
        )
        found: list[LongRun] = []
        for member, began_at in listed:
            token, task_id, name = (member.decode(errors="replace") + "  ").split(" ", 2)
            if self._redis.get(self._task_lease(task_id)) == token.encode():
                found.append(LongRun(task_id=task_id, name=name.strip(), began_at=int(began_at)))
            else:
                self._redis.zrem(key, member)  # It is over.
        return found

    def most_rounds(self) -> dict[str, int]:
        """In how many rounds a task has asked at the most, by its name, of those with more than
        one.
        """
        found: dict[bytes, bytes] = self._redis.hgetall(self.key("rounds"))
        return {name.decode(errors="replace"): count_of(most) for name, most in found.items()}


def _asked(prompt: Prompt, body: bytes) -> list[Any]:
    """What capture.lua takes of one prompt; ``body`` is what stands in the place of its own."""
    record = {
        "lane": prompt.lane.name,
        "fingerprint": prompt.fingerprint,
        "round": prompt.round,
        "site": prompt.site,
    }
    return [
        *(prompt.number, prompt.custom_id, prompt.lane.name, body, json.dumps(record)),
        *(prompt.size, prompt.tokens, prompt.inputs),
    ]


def _numbers(calls: Iterable[int]) -> str:
    return " ".join(map(str, sorted(calls)))
