"""Logs that programs read: one action for each verb, ids, and no text of a prompt."""

from __future__ import annotations

import ast
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchq.logs import ACTIONS, JsonFormatter
from tests.harness import ROOT, Stack, wait_until

APP = "tests.apps.notices"
CANARY = "canary-prompt-5b1e"
_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def logged(folder: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call of a logger of Batchq's; the emulator is a program of its own."""
    for path in sorted(folder.rglob("*.py")):
        if "emulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(node, ast.Call) and isinstance(called, ast.Attribute):
                by = called.value
                if called.attr in _METHODS and isinstance(by, ast.Name) and by.id == "logger":
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def action_of(call: ast.Call) -> str | None:
    """The action in a literal ``extra=``."""
    for word in call.keywords:
        if word.arg == "extra" and isinstance(word.value, ast.Dict):
            for key, value in zip(word.value.keys, word.value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "action":
                    assert isinstance(value, ast.Constant)
                    return str(value.value)
    return None


def test_every_record_has_an_action() -> None:
    found = dict(logged(ROOT / "batchq"))
    actions = {where: action_of(call) for where, call in found.items()}
    assert len(actions) > 40
    assert {where: action for where, action in actions.items() if action not in ACTIONS} == {}
    assert set(actions.values()) == set(ACTIONS), "and there is none that nobody uses"


def test_every_action_is_documented() -> None:
    text = (ROOT / "docs/notices.md").read_text()
    assert [f"| `{a}` | {what} |" for a, what in ACTIONS.items()] == [
        line for line in text.splitlines() if line.split("|")[1:2] and _named(line) in ACTIONS
    ]


def _named(line: str) -> str:
    return line.split("|")[1].strip().strip("`")


def record(message: str, *args: Any, **extra: Any) -> logging.LogRecord:
    logger = logging.getLogger("batchq.flush")
    made = logger.makeRecord(logger.name, logging.INFO, "f.py", 1, message, args, None, extra=extra)
    made.created = 1_700_000_000.5
    return made


def test_a_record_is_one_line_of_json() -> None:
    known = {
        "action": "flush",
        "batch": "b",
        "prompts": 3,
        "share": 0.5,
        "last": True,
        "note": None,
    }
    line = JsonFormatter().format(record("sealed %d\nprompts “%s”", 3, "x", **known))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.500000+00:00",
        "level": "INFO",
        "logger": "batchq.flush",
        "message": "sealed 3\nprompts “x”",
        **known,
    }


def test_what_is_no_plain_value_is_left_out() -> None:
    """Celery hangs a task's arguments and its result on a record, as a dict."""
    line = JsonFormatter().format(record("done", data={"return_value": CANARY}, names=[CANARY]))
    assert CANARY not in line


def test_an_exception_is_in_the_line() -> None:
    made = record("broken")
    try:
        json.loads("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    made.stack_info = "Stack (most recent call last):\n  here"
    line = JsonFormatter().format(made)
    assert "\n" not in line
    found = json.loads(line)
    assert found["exception"].startswith("Traceback")
    assert "JSONDecodeError" in found["exception"]
    assert found["stack"].endswith("here")


def test_a_record_cannot_name_itself_otherwise() -> None:
    found = json.loads(
        JsonFormatter().format(record("told", level="none", logger="mine", time="0"))
    )
    assert (found["level"], found["logger"]) == ("INFO", "batchq.flush")


def test_numbers_that_are_not_json_stay_readable() -> None:
    line = JsonFormatter().format(record("odd", share=float("nan")))
    assert json.loads(line, parse_constant=pytest.fail)["share"] == "nan"


def test_a_journey_in_json(stack: Stack) -> None:
    """Through refusals that quote the prompt, and a rescue: what a program reads of all of it."""
    path = stack.directory / "log.jsonl"
    environment = {"BATCHQ_TEST_JSON_LOG": str(path)}
    stack.worker(APP, environment=environment)
    stack.beat(APP, environment=environment)
    app = stack.app(APP)
    quoting = f"I do not like “{CANARY}”."
    stack.emulator.fault("call_error", call="create", status=400, message=quoting)
    stack.emulator.fault("rows_500", message=quoting)
    stack.emulator.fault("retrieve_500", times=1)
    sent = [app.tasks[f"{APP}.ask"].delay(f"{CANARY} {number}") for number in range(3)]
    for result in sent:
        result.get(timeout=40)
    # Nobody knows this one: rescue finds it and sends it on.
    stack.redis.zadd("{batchq}:resuming", {"unknown-task": 0})

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    def ours() -> list[dict[str, Any]]:
        return [line for line in lines() if line["logger"].startswith("batchq.")]

    verbs = {"capture", "flush", "poll", "fetch", "resume"}
    wait_until(lambda: verbs <= {one["action"] for one in ours()}, description="all verbs")
    wait_until(lambda: any(one["action"] == "rescue" for one in ours()), description="a rescue")
    found = ours()
    assert {one["action"] for one in found} <= set(ACTIONS)
    assert CANARY not in "".join(map(json.dumps, found))
    tasks = {result.id for result in sent}
    asked = [one for one in found if one["action"] == "capture"]
    assert {one["task_id"] for one in asked} == tasks
    for one in found:
        assert one["level"] in {"INFO", "WARNING", "ERROR"}
        if "batch " in one["message"] and one["action"] in {"flush", "poll", "fetch"}:
            assert one["batch"] in one["message"]
            assert one["lane"] == "default|/v1/chat/completions|gpt-5.6-luna|"
    assert all("batch" in one for one in found if one["action"] in {"poll", "fetch"})
    # What others log is JSON as well.
    assert {one["logger"].partition(".")[0] for one in lines()} > {"batchq", "celery"}
