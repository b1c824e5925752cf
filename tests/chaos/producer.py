"""Sends the work, at the pace at which workers take it, and can be killed at any time.

    python -m tests.chaos.producer --seed N --tasks N --done FILE

``done`` is its database: what was certainly sent. What is not in it is sent again, under the same
task ids, as a careful user would do.
"""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import redis
from celery import chord, group
from kombu.exceptions import OperationalError

from tests.chaos import work
from tests.chaos.app import SEED, collect, conclude, flaky, note, once, refused, twice
from tests.chaos.events import tell
from tests.chaos.work import Item, Unit, task_id
from tests.harness import wait_until

_TASKS: dict[str, Any] = {
    "once": once,
    "twice": twice,
    "flaky": flaky,
    "refused": refused,
    "collect": collect,
    "conclude": conclude,
}
#: Messages that wait for a worker, at most: the producer lives as long as there is work to send.
_AHEAD = 150


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.producer")
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--done", type=Path, required=True)
    given = parser.parse_args()
    units = list(work.units(given.tasks, SEED))
    given.done.touch()
    with given.done.open("r+") as done, redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        for unit in units[len(done.read()) :]:
            wait_until(
                lambda: _room(client), description="workers take what was sent", timeout=3600
            )
            for item in unit.items:
                tell("sent", item.number)
            send_surely(unit)
            done.write("x")
            done.flush()


def _room(client: Any) -> bool:
    try:
        return int(client.llen("celery")) < _AHEAD
    except redis.RedisError:
        return False


def send_surely(unit: Unit) -> None:
    """Send until the broker says that it has it; a send that failed may have happened."""

    def sent() -> bool:
        with suppress(OperationalError, redis.RedisError):
            send(unit)
            return True
        return False

    wait_until(sent, description="the broker takes it", timeout=600, every=0.3)


def send(unit: Unit) -> None:
    signatures = [signature(item) for item in unit.items]
    if unit.is_chord:
        header: Any = group(signatures[:-1])
        header.set(task_id=task_id(SEED, f"group {unit.items[0].number}"))
        last = task_id(SEED, unit.items[-1].number)
        cast("Any", chord(header, signatures[-1])).apply_async(task_id=last)
    else:
        signatures[0].apply_async()


def signature(item: Item) -> Any:
    made = _TASKS[item.kind].s(item.number).set(task_id=task_id(SEED, item.number))
    if item.linked:
        made.link(note.s(item.number).set(task_id=task_id(SEED, f"link {item.number}")))
    return made


if __name__ == "__main__":
    main()
