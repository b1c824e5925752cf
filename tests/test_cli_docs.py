"""docs/commands.md: each example prints what stands there, and JSON has the shape that is shown."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import batchq_cli
from batchq.common.troubles import Trouble
from tests.apps.base import alone, make_app
from tests.commands import Commands
from tests.harness import ROOT, Emulator, Server
from tests.journals import LANE, capture, chat
from tests.test_cli import bury
from tests.test_flow import EMBEDDINGS, Steps

PAGE = (ROOT / "docs/commands.md").read_text()

#: What stands in the examples, and is another id in each run.
CLOSED, OPEN = "c00e3b99be1649fe98089ea3b630fc68", "2a406f014d8140edb331578499fe5371"
TASK, DEAD = "a105a2e386f44e12bd81b215d57e79f2", "5c1f1c5c0a6e4a5f9a5d8c1c2f6b7d3e"


@dataclass(frozen=True, kw_only=True)
class Example:
    words: list[str]
    code: int
    printed: list[str]


def examples() -> Iterator[Example]:
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        calls = [part.splitlines() for part in block.split("$ ") if part.strip()]
        for call, following in zip(calls, [*calls[1:], [""]], strict=True):
            found = re.match(r"(?:\S+=\S+ )?celery (?:-A shop )?batchq (.*)", call[0])
            if found is not None:
                code = int(following[1]) if following[0] == "echo $?" else 0
                yield Example(words=shlex.split(found[1]), code=code, printed=call[1:])


def shapes() -> dict[str, list[Any]]:
    """The JSON of each section."""
    found: dict[str, list[Any]] = {}
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        found[section.splitlines()[0]] = [json.loads(block) for block in blocks]
    return found


class Shop:
    """The app of the examples, with the prompts and batches that they show."""

    def __init__(self, server: Server, emulator: Emulator, directory: Path) -> None:
        app = make_app(
            "shop",
            batchq_flush_after=900,
            batchq_poll_first=0.05,
            batchq_poll_longest=0.3,
            batchq_tick=5,
            batchq_accounts={"default": {"prices": "openai"}},
        )
        self.steps = Steps(server, emulator, alone(app))
        self.cli = Commands(app)
        self.directory = directory
        self.ids: dict[str, str] = {}
        self._fill(emulator)

    def _fill(self, emulator: Emulator) -> None:
        journal = self.steps.journal
        for number in range(200):
            task = self.ask(f"question {number} " * 900)
            self.ids.setdefault(TASK, task)
        emulator.fault("line_error", custom_id=f"{self.ids[TASK]}-0")
        self.ids[CLOSED] = self.steps.submitted().id
        self.steps.until_over()
        emulator.fault("stuck_in_progress", at=0.5)
        for number in range(50):
            self.ask(f"question {number}" * 300)
        batch = self.steps.submitted()
        self.ids[OPEN] = batch.id
        self.steps.set(batch.id, status="validating", completed=0, failed=0)
        self.ask("x" * 3000)
        capture(journal, b'{"model": "text-embedding-3-small", "input": "a"}', lane=EMBEDDINGS)
        usage = {"prompt_tokens": 1834, "completion_tokens": 211}
        line = json.dumps({"model": "gpt-5.6-luna", "usage": usage})
        (self.directory / "day.jsonl").write_text(f"{line}\n" * 12_000)
        first = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
        first["body"] = json.loads(chat("hi"))
        second = first | {"body": {**json.loads(chat("hi")), "stream": True}}
        lines = "".join(json.dumps(one) + "\n" for one in (first, second))
        (self.directory / "batch.jsonl").write_text(lines)

    def ask(self, text: str) -> str:
        asked = capture(self.steps.journal, chat(text))
        key = self.steps.journal.store.task_key(asked.task_id)
        self.steps.journal.store.redis.hset(key, "name", "shop.tasks.classify")
        return asked.task_id

    def run(self, example: Example, *more: str) -> str:
        # As a beat does that runs; noted once, it was late by the time a busy machine came to it.
        self.steps.journal.beat.note()
        if "dead" in example.words:
            self.ids[DEAD] = bury(self.steps.journal).task_id
        if "release" in example.words and "--account" in example.words:
            self.pause()
        words = [self._here(word) for word in (*example.words, *more)]
        result = self.cli.run(*words, code=example.code)
        return result.output.replace(f"{self.directory}/", "")

    def pause(self) -> None:
        """Its account has no credit."""
        trouble, hour = Trouble("credit", "insufficient_quota"), timedelta(hours=1)
        self.steps.journal.pauses.begin(
            LANE, trouble, batch="b", met_in="rows", pauses=(hour, hour)
        )

    def _here(self, word: str) -> str:
        for shown, here in self.ids.items():
            word = word.replace(shown, here)
        return str(self.directory / word) if word.endswith(".jsonl") else word


@pytest.fixture
def shop(server: Server, emulator: Emulator, tmp_path: Path) -> Shop:
    return Shop(server, emulator, tmp_path)


def plain(line: str) -> str:
    """A line without what is another one in each run: ids, times, amounts, widths."""
    line = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?", "TIME", line)
    line = re.sub(r"(batch_)?[0-9a-f]{32}", "ID", line)
    line = re.sub(r"127\.0\.0\.1:\d+", "HOST", line)
    line = re.sub(r"<?\$?\d[\d,.-]*", "0", line)
    line = re.sub(r"\b0 (s|min|h|d)( 0 (s|min|h))?", "SPAN", line)
    return " ".join(line.split())


def test_each_example_prints_what_stands_there(shop: Shop) -> None:
    ran: set[str] = set()
    for example in examples():
        name = example.words[0]
        ran.add(name)
        if name == "webhook":  # It would not end; tests/test_cli_follow.py runs it.
            continue
        more = ["--no-follow", "--last", "100"] if name == "tail" else []
        there = [plain(line) for line in shop.run(example, *more).splitlines()]
        for line in example.printed:
            seen = "\n".join((str(example.words), line, *there))
            assert line == "…" or plain(line) in there, seen
    assert ran == set(batchq_cli.COMMANDS)


#: Objects whose names are somebody else's.
THEIRS = {"errors", "tasks", "object"}


def differs(shown: Any, printed: Any, path: str = "") -> list[str]:
    """Where the shape that is shown is not that which is printed; what is left empty may be any."""
    if isinstance(shown, dict) and shown and isinstance(printed, dict):
        if list(shown) != list(printed):
            return [f"{path}: {list(shown)} is {list(printed)}"]
        names = [name for name in shown if name not in THEIRS]
        return [one for n in names for one in differs(shown[n], printed[n], f"{path}.{n}")]
    if isinstance(shown, list) and shown and printed:
        return differs(shown[0], printed[0], f"{path}[]")
    same = type(shown) is type(printed) or None in (shown, printed)
    numbers = isinstance(shown, (int, float)) and isinstance(printed, (int, float))
    return [] if same or numbers else [f"{path}: {shown!r} is {printed!r}"]


def test_json_has_the_shape_that_is_shown(shop: Shop) -> None:
    documented = shapes()
    day, batch = str(shop.directory / "day.jsonl"), str(shop.directory / "batch.jsonl")
    lasting = ["--skip", "workers", "--skip", "provider"]
    commands: dict[str, list[tuple[list[str], int]]] = {
        "status": [(["status"], 0)],
        "lanes": [(["lanes"], 0)],
        "batches": [(["batches", "--state", "closed"], 0)],
        "show": [(["show", f"{shop.ids[TASK]}-0"], 0)],
        "tail": [(["tail", "--no-follow", "--kind", "batch_submitted", "--last", "1"], 0)],
        "flush": [(["flush", "luna"], 0)],
        "hold and release": [(["hold", "luna"], 0), (["release", "--account", "default"], 0)],
        "cancel": [(["cancel", shop.ids[OPEN]], 0)],
        "dead and retry": [(["dead"], 1), (["retry", "--all"], 0)],
        "check": [(["check", *lasting], 0)],
        "validate": [(["validate", batch], 1)],
        "estimate": [(["estimate", day], 0)],
        "savings": [(["savings", "--days", "1"], 0)],
    }
    assert {name for name, blocks in documented.items() if blocks} == set(commands)
    bury(shop.steps.journal)
    shop.pause()
    for name, calls in commands.items():
        for (words, code), shown in zip(calls, documented[name], strict=True):
            shop.steps.journal.beat.note()
            assert differs(shown, shop.cli.json(*words, code=code)) == [], words
    status, lanes, batches = (shop.cli.json(word) for word in ("status", "lanes", "batches"))
    assert differs(lanes["lanes"], status["lanes"]) == []
    assert differs(batches["batches"], status["batches"]) == []
    (day_of,) = documented["savings"][0]["days"]
    savings = shop.cli.json("savings")
    assert list(status["today"]) == list(day_of)[1:] == list(savings["lanes"][0])[1:]
    found = shop.cli.json("show", shop.ids[CLOSED])
    assert list(found) == [*batches["batches"][0], "object"]
