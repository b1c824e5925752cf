"""One run of a task's body, from its claim to its end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from batchq.common.points import point
from batchq.common.seams.states import RedisState
from batchq.journal.bodies import Bodies
from batchq.journal.lease import Lease
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
from batchq.journal.scripts import arguments
from batchq.journal.store import Store
from batchq.prompt import Lane, Prompt

__all__ = ["Runs"]

_LISTED = 100
"""How many of the longest runs are looked at."""

_CAPTURES = ("waiting", "resuming", "lanes", "counters", "rounds", "adopted")
"""The keys that a capture writes to or looks at, beside its task's and its lanes'."""


class Runs:
    """What a run of a body asks of the journal and writes into it."""

    def __init__(self, store: Store, bodies: Bodies) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key
        self._bodies = bodies

    def claim(self, task_id: str, *, token: str, nesting: int, retries: int) -> Claim:
        reply = self._store.run(
            "claim",
            [
                *(
                    self._store.task_key(task_id),
                    self._store.bodies_key(task_id),
                    self._store.task_lease_key(task_id),
                ),
                self._key("resuming"),
            ],
            arguments(
                token=token,
                lease=milliseconds(self._store.config.lease),
                nesting=nesting,
                retries=retries,
                keep=self._store.keep_journal,
                task=task_id,
                kills=KILLS,
            ),
        )
        word = reply[0].decode()
        if word != "CLAIMED":
            return Claim(word=word)
        return read_claim(to_dict(reply[1]), self._store.codec, f"the journal of task {task_id}")

    def unclaim(self, task_id: str, *, token: str, message: bytes) -> str:
        """Give up a run that could not begin; its task is sent again later."""
        keys = [
            self._store.task_key(task_id),
            self._store.task_lease_key(task_id),
            self._key("resuming"),
        ]
        args = arguments(self._store.write(message), token=token, task=task_id)
        return self._store.word("unclaim", keys, args)

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
        state: RedisState | None = None,
    ) -> str:
        """Write down what a run asked. ``read`` are the calls whose answers its task has read, and
        ``state`` is what Celery is to know of it from then on, where it is kept on this server.

        The word is ADOPTED in the place of CAPTURED where lines of lost batches may ask the same.
        Raises StorageAway where a large body cannot be kept, and ClusterCrossSlotError or
        NoPermissionError where its server takes no ``state`` here; nothing is written then.
        """
        with self._bodies.kept_outside(task_id, prompts) as kept:
            bodies = [kept.get(one.number) or self._store.write(one.body) for one in prompts]
            keys = [
                *(
                    self._store.task_key(task_id),
                    self._store.bodies_key(task_id),
                    self._store.task_lease_key(task_id),
                ),
                *(self._key(one) for one in (_CAPTURES)),
                *(key for one in prompts for key in self._store.lane_keys(one.lane)),
                *(() if state is None else (state.key,)),
            ]
            args = arguments(
                self._store.write(message),
                *(one for pair in zip(bodies, map(_record, prompts), strict=True) for one in pair),
                *(() if state is None else (state.text,)),
                token=token,
                task=task_id,
                keep=self._store.keep_journal,
                calls=next_number,
                name=name,
                read=_numbers(read),
                round=1 + max((one.round for one in prompts), default=0),
                prompts=list(map(_asked, prompts)),
                state=None if state is None else self._told(state),
            )
            point("capture.call")
            return self._store.word("capture", keys, args)

    def _told(self, state: RedisState) -> dict[str, int]:
        """What capture.lua takes of a state by name."""
        database, own = state.parameters.get("db") or 0, self._store.database
        return {"seconds": state.seconds} | ({} if database == own else {"database": database})

    def keep(self, task_id: str, *, message: bytes) -> str:
        """Keep the message of a delivery that found its task busy."""
        keys = [self._store.task_key(task_id), self._key("resuming")]
        args = arguments(self._store.write(message), task=task_id)
        return self._store.word("keep", keys, args)

    def note_step(self, task_id: str, *, token: str, name: str, value: str) -> str:
        """Write down the result of a step that the body runs once."""
        return self.note(task_id, token, {f"once:{name}": self._store.codec.seal(value.encode())})

    def note_live(self, task_id: str, *, token: str, entry: Entry) -> str:
        """Write down a call that a body made live, so that a replay does not pay for it again."""
        if entry.outcome is None:
            raise ValueError("a live call is written down with its outcome")
        lane = Lane(account="", endpoint=entry.endpoint, model=entry.model)
        record = {"lane": lane.name, "fingerprint": entry.fingerprint, "round": entry.round}
        fields = {
            f"{entry.number}:record": json.dumps(record),
            f"{entry.number}:outcome": self._store.codec.seal(entry.outcome.to_bytes()),
            f"{entry.number}:place": "answered",
            "calls": entry.number + 1,
        }
        return self.note(task_id, token, fields)

    def note_trace(self, task_id: str, *, token: str, trace: str) -> str:
        """Write down where in which trace a run is, for those that follow it."""
        return self.note(task_id, token, {"trace": trace})

    def note(self, task_id: str, token: str, fields: Mapping[str, Any]) -> str:
        args = arguments(
            *fields.values(), token=token, keep=self._store.keep_journal, fields=list(fields)
        )
        return self._store.word("note", [self._store.task_key(task_id)], args)

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
        keep = milliseconds(self._store.config.keep_done) if final else self._store.keep_journal
        outside = self._bodies.outside(task_id, None if final else ask_again)
        word = self._store.word(
            "settle",
            [
                *(
                    self._store.task_key(task_id),
                    self._store.bodies_key(task_id),
                    self._store.task_lease_key(task_id),
                ),
                *(self._key(name) for name in ("waiting", "resuming")),
            ],
            arguments(
                token=token,
                task=task_id,
                state=state,
                final=final,
                keep=max(keep, 1),
                read=_numbers(read),
                ask_again=list(map(str, ask_again)),
            ),
        )
        if word == "SETTLED":
            self._bodies.delete(outside)
        return word

    def bury(self, task_id: str, *, token: str, message: bytes, state: str) -> str:
        """End a run that failed because those before it killed their workers."""
        keys = [
            self._store.task_key(task_id),
            self._store.bodies_key(task_id),
            self._store.task_lease_key(task_id),
        ]
        keys += [self._key("resuming"), self._key("dead")]
        args = arguments(
            self._store.write(message),
            token=token,
            task=task_id,
            state=state,
            keep=self._store.keep_journal,
        )
        return self._store.word("bury", keys, args)

    def lease(self, task_id: str, name: str = "") -> Lease:
        """The lease that a claim of this task's run takes."""
        return Lease(
            self._store.task_lease_key(task_id),
            secrets.token_hex(8),
            owner=self._store.task_key(task_id),
            run_of=f"{task_id} {name}",
        )

    def long(self, *, longer_than: timedelta) -> list[LongRun]:
        """The bodies that have run for so long, the longest first; a hundred at most.

        The time counts from the first renewal of their lease, a few seconds after they began.
        """
        key, until = self._key("running"), self._store.now() - milliseconds(longer_than)
        listed: list[tuple[bytes, float]] = self._redis.zrangebyscore(
            key, "-inf", until, start=0, num=_LISTED, withscores=True
        )
        found: list[LongRun] = []
        for member, began_at in listed:
            token, task_id, name = (member.decode(errors="replace") + "  ").split(" ", 2)
            if self._redis.get(self._store.task_lease_key(task_id)) == token.encode():
                found.append(LongRun(task_id=task_id, name=name.strip(), began_at=int(began_at)))
            else:
                self._redis.zrem(key, member)  # It is over.
        return found

    def most_rounds(self) -> dict[str, int]:
        """In how many rounds a task has asked at the most, by its name, of those with more than
        one.
        """
        found: dict[bytes, bytes] = self._redis.hgetall(self._key("rounds"))
        return {name.decode(errors="replace"): count_of(most) for name, most in found.items()}


def _record(prompt: Prompt) -> str:
    """What the journal keeps of a prompt beside its body."""
    record = {
        "lane": prompt.lane.name,
        "fingerprint": prompt.fingerprint,
        "round": prompt.round,
        "site": prompt.site,
    }
    return json.dumps(record)


def _asked(prompt: Prompt) -> dict[str, Any]:
    """What capture.lua takes of one prompt by name."""
    return {
        "number": str(prompt.number),
        "custom_id": prompt.custom_id,
        "lane": prompt.lane.name,
        "bytes": prompt.size,
        "tokens": prompt.tokens,
        "inputs": prompt.inputs,
    }


def _numbers(calls: Iterable[int]) -> str:
    return " ".join(map(str, sorted(calls)))
