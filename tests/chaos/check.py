"""What must be true at the end, and the figures of the way there."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import redis
from kombu.exceptions import OperationalError

from batchq.journal import journal_of
from tests.chaos.books import Books, was_cut
from tests.chaos.fleet import Disturbance
from tests.chaos.work import Item, task_id
from tests.harness import ROOT, keys_without_end

#: Keys without an end that say nothing about open work.
_LASTING = ("counters", "epoch")


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant, and what breaks it: nothing, if all is well."""

    invariant: str
    broken: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.broken


@dataclass(kw_only=True)
class Scene:
    """A run that has come to its end, as the checks need it."""

    app: Any
    seed: int
    items: Mapping[int, Item]
    expected: Mapping[int, str | None]
    books: Books
    ledger: dict[str, Any]
    files: int
    logs: Sequence[Path]
    secrets: Sequence[str]
    results: dict[int, tuple[str, Any]] = field(default_factory=dict[int, tuple[str, Any]])

    def read_results(self) -> None:
        self.results = {number: self.result(number) for number in self.items}

    def result(self, number: int) -> tuple[str, Any]:
        meta = self.app.backend.get_task_meta(task_id(self.seed, number))
        return meta["status"], meta["result"]


def lost(scene: Scene) -> Finding:
    """Each task has an end."""
    missing = [
        f"task {number} ({scene.items[number].kind}, {task_id(scene.seed, number)}) is {state}"
        for number, (state, _) in scene.results.items()
        if state not in {"SUCCESS", "FAILURE"}
    ]
    return Finding("lost by Batchq", tuple(missing))


def wrong(scene: Scene, *, broken_off: set[int]) -> Finding:
    """Each result is the one that the question has, and only what was refused fails."""
    found: list[str] = []
    for number, (state, result) in scene.results.items():
        expected = scene.expected[number]
        refused = state == "FAILURE" and "Error code: 400" in str(result)
        right = refused if expected is None else result == expected
        if state in {"SUCCESS", "FAILURE"} and not right and number not in broken_off:
            kind, known = scene.items[number].kind, task_id(scene.seed, number)
            found.append(f"task {number} ({kind}, {known}) is {state}: {result!r}")
    return Finding("wrong result", tuple(found))


def broken_off(scene: Scene, disturbances: Sequence[Disturbance]) -> set[int]:
    """Tasks that Celery calls failed because Redis was away when it stored their result.

    Their body had returned; a plain task fails in the same way.
    """
    return {
        number
        for number, (state, result) in scene.results.items()
        if state == "FAILURE"
        and isinstance(result, _AWAY)
        and any(run.ended and was_cut(run, disturbances) for run in scene.books.runs[number])
    }


_AWAY = (redis.ConnectionError, redis.TimeoutError, OperationalError, ConnectionError)


# What was paid


@dataclass(frozen=True, slots=True)
class Bill:
    """``extra`` are batches created once too often, with their state; ``again`` lines run twice."""

    batches: int
    extra: tuple[str, ...]
    again: tuple[str, ...]
    unexplained: tuple[str, ...]
    unasked: tuple[str, ...]
    unadopted: tuple[str, ...]


def bill(scene: Scene) -> Bill:
    """Hold the provider's ledger against the journal's batches and against what was to be asked."""
    closed = {one.id: one for one in journal_of(scene.app).batches.closed(100_000)}
    by_seal: dict[str, list[dict[str, Any]]] = {}
    for batch in scene.ledger["batches"]:
        by_seal.setdefault(batch["metadata"].get("batchq", "?"), []).append(batch)
    extra: list[str] = []
    unadopted: list[str] = []
    for seal, batches in by_seal.items():
        adopted = [b for b in batches if seal in closed and b["id"] == closed[seal].provider_id]
        if len(adopted) != 1:
            unadopted.append(f"seal {seal}: {len(adopted)} of {len(batches)} batches are adopted")
        extra += [
            f"{b['id']} of seal {seal}: {b['status']}, {b['ran']} of {b['lines']} lines ran"
            for b in batches
            if b not in adopted
        ]
    ran = {name: line["ok"] + line["failed"] for name, line in scene.ledger["lines"].items()}
    needed = _needed(scene)
    again = [name for name, times in ran.items() if times > 1]
    spared = sum(batch["ran"] for batches in by_seal.values() for batch in batches[1:])
    return Bill(
        batches=len(scene.ledger["batches"]),
        extra=tuple(extra),
        again=tuple(again),
        unexplained=tuple(again) if sum(ran[name] - 1 for name in again) > spared else (),
        unasked=tuple(sorted(ran.keys() ^ needed)),
        unadopted=tuple(unadopted),
    )


def _needed(scene: Scene) -> set[str]:
    """The lines that the work needs, each once."""
    return {
        f"{task_id(scene.seed, number)}-{line}"
        for number, item in scene.items.items()
        for line in range(item.lines)
    }


def ledger(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/emulator/ledger") as answer:
        return cast("dict[str, Any]", json.load(answer))


def files(url: str, key: str) -> int:
    """How many files are left at the provider."""
    request = urllib.request.Request(
        f"{url}/files?limit=10000", headers={"authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request) as answer:
        return len(json.load(answer)["data"])


# What is left


def left(scene: Scene) -> Finding:
    """Nothing is open, and only documented keys are there."""
    endless = [name.partition("<")[0] for name, ends in _documented() if ends.startswith("none")]
    work = tuple(f"{{batchq}}:{name}" for name in endless if name not in _LASTING)
    with redis.Redis.from_url(scene.app.conf.broker_url, decode_responses=True) as client:
        keys = list(client.scan_iter("{batchq}*", count=1000))
        found = [f"unknown key {key}" for key in keys if not _known(key)]
        found += [f"no end: {key}" for key in keys_without_end(client, documented=endless)]
        found += [f"open: {key}" for key in keys if key.startswith(work) and client.exists(key)]
        held = users_messages(client)
        queues = [f"{held} messages are in the user's queue, or with a worker"] if held else []
    unfinished = [
        f"the provider's batch {batch['id']} is {batch['status']}"
        for batch in scene.ledger["batches"]
        if batch["status"] not in {"completed", "failed", "expired", "cancelled"}
    ]
    return Finding("left open or undocumented", (*found, *queues, *unfinished))


def users_messages(client: Any) -> int:
    """The messages of the user's queue, waiting or with a worker. Batchq's own tick on and on."""
    queues: list[str] = [json.loads(held)[-1] for held in client.hvals("unacked")]
    waiting: int = client.llen("celery")
    return waiting + queues.count("celery")


def _known(key: str) -> bool:
    return any(_pattern(name).fullmatch(key) for name, _ in _documented())


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape("{batchq}:") + re.sub(r"<[^>]+>", ".+", name))


@cache
def _documented() -> list[tuple[str, str]]:
    """The keys of ARCHITECTURE.md's schema, each with what is said there about its end."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    table = text.partition("## The key schema")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return [(name, row[-1]) for row in rows for name in re.findall(r"`([^`]+)`", row[0])]


def secrets_told(scene: Scene) -> Finding:
    """No key and no prompt is in any log."""
    found: list[str] = []
    for log in scene.logs:
        with log.open(errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                found += [f"{log.name}:{number}" for secret in scene.secrets if secret in line]
    return Finding("key or prompt in a log", tuple(found))


def alarms(logs: Iterable[Path]) -> Counter[str]:
    """What Batchq's own loggers warned of, without the particulars."""
    counts: Counter[str] = Counter()
    for log in logs:
        with log.open(errors="replace") as lines:
            for line in lines:
                said = re.search(r": (WARNING|ERROR|CRITICAL)/\S+ (.+)", line)
                if said:
                    counts[re.sub(r"[0-9a-f-]{16,}|\d+", "*", said[2])[:90]] += 1
    return counts


@dataclass(frozen=True, slots=True)
class Effects:
    """Hooks and links that did not run exactly once.

    ``odd`` are hooks of tasks that nothing cut off. A link is a message of Celery's own, so it may
    be lost or come twice whatever became of its task.
    """

    odd: tuple[str, ...]
    counts: Counter[str]


def effects(scene: Scene, *, cut: Collection[int]) -> Effects:
    odd: list[str] = []
    counts: Counter[str] = Counter()
    for number, item in scene.items.items():
        hooks = scene.books.succeeded[number] - (item.kind != "refused")
        links = scene.books.linked[number] - item.linked
        for name, times in (("hooks", hooks), ("links", links)):
            word = f"{name} {'missed' if times < 0 else 'repeated'}"
            if times and name == "hooks" and number not in cut:
                odd.append(f"{word}: task {number} ({item.kind}, {task_id(scene.seed, number)})")
            elif times:
                counts[word] += 1
    return Effects(tuple(odd), counts)
