"""The commands: what they show, what they do, and the exit codes that a script trusts."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click
import pytest
from celery import Celery

import batchq as package
import batchq_cli
from batchq.commands.cells import table
from batchq.flow.flush import flush
from batchq.journal import BatchRecord, Journal
from batchq.prompt import Lane
from tests.apps.base import make_app
from tests.commands import Commands
from tests.harness import ROOT, Emulator, Server
from tests.journals import LANE, Asked, capture, chat, claim
from tests.test_flow import EMBEDDINGS, Steps

SECRET = "the text of a prompt"


def make_steps(server: Server, emulator: Emulator, **settings: Any) -> Steps:
    options = {
        "batchq_flush_after": 900,
        "batchq_poll_first": 0.05,
        "batchq_poll_longest": 0.3,
        "batchq_accounts": {"default": {"prices": "openai"}},
    }
    return Steps(server, emulator, make_app("cli", **{**options, **settings}))


@pytest.fixture
def steps(server: Server, emulator: Emulator) -> Steps:
    return make_steps(server, emulator)


@pytest.fixture
def cli(steps: Steps) -> Commands:
    return Commands(steps.app)


def ended(steps: Steps, *asked: Asked) -> BatchRecord:
    """A batch that is over, with these prompts or one."""
    if not asked:
        capture(steps.journal, chat(SECRET))
    steps.submitted()
    steps.until_over()
    return steps.journal.batches.closed(1)[0]


# What there is


def test_everything_is_looked_at_in_one_command(steps: Steps, cli: Commands) -> None:
    closed = ended(steps)
    capture(steps.journal)
    found = cli.json("status")
    assert (found["captured"], found["answered"], found["waiting"]) == (2, 1, 1)
    assert [lane["lane"] for lane in found["lanes"]] == [LANE.name]
    assert found["today"]["cost_usd"] == closed.cost / 1e9 > 0
    assert found["beat_seen_seconds"] is None
    shown = cli.out("status")
    assert "1 of 2 asked" in shown
    assert "never seen" in shown
    assert LANE.name in shown


def test_lanes_say_when_they_go_and_why(steps: Steps, cli: Commands) -> None:
    assert cli.said("lanes") == "no prompt waits in a lane\n"
    capture(steps.journal)
    head, row = cli.out("lanes").splitlines()
    assert head.split()[:4] == ["LANE", "PROMPTS", "BYTES", "OLDEST"]
    assert row.startswith(LANE.name)
    assert "in 15 min" in row
    assert "batchq_flush_after" in row
    (lane,) = cli.json("lanes")["lanes"]
    assert (lane["account"], lane["endpoint"]) == ("default", "/v1/chat/completions")
    assert 890 < lane["next_flush_seconds"] <= 900


def test_a_lane_that_is_held_is_listed_without_prompts(steps: Steps, cli: Commands) -> None:
    steps.journal.lanes.hold(LANE)
    (lane,) = cli.json("lanes")["lanes"]
    assert (lane["held"], lane["prompts"], lane["oldest_seconds"]) == (True, 0, None)
    assert lane["next_flush_why"] == "it is held"


def test_batches_are_filtered(steps: Steps, cli: Commands) -> None:
    first = ended(steps)
    capture(steps.journal, b'{"model": "x", "input": "a"}', lane=EMBEDDINGS, inputs=1)
    second = steps.submitted()
    steps.set(second.id, tasks=json.dumps({"shop.index": 1}))

    def listed(*words: str) -> list[str]:
        return [one["batch"] for one in cli.json("batches", *words)["batches"]]

    assert listed() == [second.id, first.id], "newest first"
    assert listed("--state", "open") == listed("--state", "submitted") == [second.id]
    assert listed("--state", "closed") == listed("--state", "completed") == [first.id]
    assert listed("--state", "dead") == []
    assert listed("--lane", "embedding") == listed("--task", "shop.index") == [second.id]
    assert listed("--account", "default") == [second.id, first.id]
    assert listed("--account", "other") == []
    assert listed("--limit", "1") == [second.id]
    assert "there are more" in cli.said("batches", "--limit", "1")
    assert "no such batch" in cli.said("batches", "--task", "nobody")
    assert first.id in cli.out("batches")


def test_every_batch_of_many_is_listed(steps: Steps, cli: Commands) -> None:
    """They are read a page at a time, and some have expired while their names are still there."""
    first = ended(steps)
    raw: Any = steps.raw(first.id)
    pipe = steps.server.client.pipeline()
    for number in range(1200):
        if number % 3:
            pipe.hset(f"{{batchq}}:batch:b{number}", mapping=raw)
        pipe.zadd("{batchq}:closed", {f"b{number}": number})
    pipe.execute()
    assert len(cli.json("batches", "--limit", "0")["batches"]) == 801
    assert len(cli.json("batches")["batches"]) == 20


def test_a_batch_is_shown_by_either_id(steps: Steps, cli: Commands) -> None:
    asked = [capture(steps.journal, chat(SECRET)) for _ in range(3)]
    steps.emulator.fault("line_error", custom_id=asked[1].custom_ids[0])
    batch = ended(steps, *asked)
    found = cli.json("show", batch.id)
    assert found == cli.json("show", batch.provider_id)
    assert found["errors"] == {"invalid_value": {"prompts": 1, "examples": asked[1].custom_ids}}
    assert found["object"]["id"] == batch.provider_id
    assert found["saved_usd"] > 0
    shown = cli.out("show", batch.id)
    assert "2 completed, 1 failed" in shown
    assert asked[1].custom_ids[0] in shown
    assert [word for word in ("sealed", "submitted", "finished", "closed") if word in shown] == [
        *("sealed", "submitted", "finished", "closed")
    ]


def test_a_task_and_each_of_its_prompts_are_shown(steps: Steps, cli: Commands) -> None:
    asked = capture(steps.journal, chat(SECRET), chat(f"{SECRET} two"))
    task = cli.json("show", asked.task_id)
    assert (task["waiting"], [call["place"] for call in task["calls"]]) == (2, ["lane"] * 2)
    batch = ended(steps, asked)
    one = cli.json("show", asked.custom_ids[1])
    (call,) = one["calls"]
    assert (call["number"], call["status_code"], call["batch"]) == (1, 200, batch.id)
    assert call["cost_usd"] > 0
    assert f"answered by {batch.id}" in cli.out("show", asked.custom_ids[1])


def test_a_text_is_shown_only_where_it_may_be(
    server: Server, emulator: Emulator, steps: Steps, cli: Commands
) -> None:
    asked = capture(steps.journal, chat(SECRET))
    batch = ended(steps, asked)
    for name in (asked.task_id, asked.custom_ids[0], batch.id, batch.provider_id):
        for words in (("show", name), ("show", name, "--json")):
            assert SECRET not in cli.run(*words).output
    refused = cli.run("show", asked.task_id, "--text", code=2)
    assert "batchq_show_prompts" in refused.stderr
    allowed = Commands(make_steps(server, emulator, batchq_show_prompts=True).app)
    assert SECRET in allowed.out("show", asked.task_id, "--text")
    assert SECRET not in allowed.out("show", asked.task_id)
    (call,) = allowed.json("show", asked.custom_ids[0], "--text")["calls"]
    assert call["question"]["messages"][0]["content"] == SECRET
    assert call["answer"]["choices"]
    assert "is a batch" in allowed.said("show", batch.id, "--text", code=2)


def test_what_is_not_there_is_not_found(cli: Commands) -> None:
    for name in ("nobody", "nobody-0", "batch_0", "", "a:b}c"):
        assert "no task, prompt or batch" in cli.said("show", name, code=1)


# What there is to do


def test_a_lane_is_held_and_released(steps: Steps, cli: Commands) -> None:
    capture(steps.journal)
    assert cli.json("hold", "luna") == {"lane": LANE.name, "held": True, "changed": True}
    assert "held already" in cli.said("hold", LANE.name, code=1)
    assert "nothing waits that could go" in cli.said("flush", code=1)
    assert cli.json("release", "luna") == {"lane": LANE.name, "held": False, "changed": True}
    assert "is not held" in cli.said("release", "luna", code=1)


def test_a_lane_that_is_not_there_is_answered_with_those_that_are(
    steps: Steps, cli: Commands
) -> None:
    capture(steps.journal)
    for command in ("hold", "release", "flush"):
        assert LANE.name in cli.said(command, "nova", code=1)


def test_what_waits_is_flushed(steps: Steps, cli: Commands) -> None:
    assert cli.json("flush", code=1) == {"lane": None, "prompts": 0, "held": 0}
    capture(steps.journal)
    capture(steps.journal, b'{"model": "x", "input": "a"}', lane=EMBEDDINGS, inputs=1)
    assert cli.out("flush", "luna") == f"to go now: 1 prompt of {LANE.name}\n"
    assert steps.step()
    assert steps.only().lane == LANE
    steps.journal.lanes.hold(EMBEDDINGS)
    assert cli.json("flush", code=1) == {"lane": None, "prompts": 0, "held": 1}
    steps.journal.lanes.release(EMBEDDINGS)
    assert cli.json("flush")["prompts"] == 1
    assert steps.step()
    assert len(steps.journal.batches.open()) == 2


@pytest.mark.parametrize("by", ["id", "provider_id"])
def test_a_batch_is_cancelled(steps: Steps, cli: Commands, by: str) -> None:
    steps.emulator.fault("stuck_in_progress", at=0)
    capture(steps.journal)
    batch = steps.submitted()
    found = cli.json("cancel", getattr(batch, by))
    assert found == {"batch": batch.id, "asked": True, "lane": LANE.name, "held": True}
    steps.until_over()
    assert "has ended already" in cli.said("cancel", batch.id, code=1)
    assert "no batch 'nobody'" in cli.said("cancel", "nobody", code=1)


def test_a_batch_is_cancelled_and_its_prompts_go_again(steps: Steps, cli: Commands) -> None:
    capture(steps.journal)
    flush(steps.app, everything=True)
    assert "held" not in cli.run("cancel", steps.only().id, "--no-hold").output
    assert not steps.journal.lanes.held()


def bury(journal: Journal) -> Asked:
    asked = capture(journal)
    lease, _ = claim(journal, asked.task_id)
    del lease
    journal.store.redis.zadd(journal.store.key("dead"), {asked.task_id: journal.clock.now()})
    journal.store.redis.hset(journal.store.task_key(asked.task_id), "dead", 1)
    return asked


def test_the_dead_are_listed_and_retried(steps: Steps, cli: Commands) -> None:
    assert cli.json("dead") == {"dead": []}
    assert "nothing is dead" in cli.said("retry", "--all")
    first, second, third = (bury(steps.journal) for _ in range(3))
    listed = cli.json("dead", code=1)["dead"]
    assert {one["id"] for one in listed} == {first.task_id, second.task_id, third.task_id}
    assert {one["kind"] for one in listed} == {"task"}
    assert first.task_id in cli.out("dead", code=1)
    found = cli.run("retry", first.task_id, "nobody", code=1)
    assert f"{first.task_id} is tried again" in found.stdout
    assert "nobody is not dead" in found.stderr
    assert first.task_id in steps.resumed()
    assert [one["retried"] for one in cli.json("retry", "--all")["retried"]] == [True, True]
    assert cli.json("dead") == {"dead": []}


@pytest.mark.parametrize("words", [["retry"], ["retry", "--all", "one"]])
def test_what_to_retry_has_to_be_said(cli: Commands, words: list[str]) -> None:
    assert "name what to retry" in cli.said(*words, code=2)


# Money


def test_savings_are_added_up_by_day_and_by_lane(steps: Steps, cli: Commands) -> None:
    assert "no batch has ended yet" in cli.said("savings")
    closed = ended(steps)
    capture(steps.journal, chat("a model of nobody", model="gpt-nobody"), lane=Lane(
        account="default", endpoint="/v1/chat/completions", model="gpt-nobody"))  # fmt: skip
    steps.submitted()
    steps.until_over()
    found = cli.json("savings", "--days", "3")
    assert [one["batches"] for one in found["days"]] == [0, 0, 2]
    assert found["total"]["cost_usd"] == closed.cost / 1e9
    assert found["total"]["saved_usd"] == (closed.live_cost - closed.cost) / 1e9
    assert (found["total"]["unpriced"], found["total"]["estimated"]) == (1, True)
    assert {one["lane"].split("|")[2] for one in found["lanes"]} == {LANE.model, "gpt-nobody"}
    shown = cli.out("savings")
    assert shown.count("total") == 2
    assert "(1 unpriced)" in shown
    assert "unknown" in shown


# Exit codes and errors


def test_an_app_without_batchq_is_told_what_to_do() -> None:
    cli = Commands(Celery("bare", set_as_current=False))
    said = cli.said("status", code=2)
    assert "the app bare has no Batchq" in said
    assert "celery -A shop batchq status" in said


def test_wrong_settings_are_named() -> None:
    cli = Commands(make_app("wrong", batchq_tick=0))
    assert "batchq_tick = 0: accepted is" in cli.said("lanes", code=2)


@pytest.mark.parametrize("words", [["status"], ["flush"], ["show", "x"], ["savings"]])
def test_a_redis_that_is_away_is_said_to_be_so_at_once(words: list[str]) -> None:
    url = "redis://somebody:hunter2@127.0.0.1:1/0"
    cli = Commands(make_app("away", broker_url=url, result_backend=url))
    found = cli.run(*words, code=3)
    assert "Error: Redis redis://somebody:***@127.0.0.1:1/0 cannot be used" in found.stderr
    assert "hunter2" not in found.output


def test_a_broker_that_is_away_is_said_to_be_so(server: Server, emulator: Emulator) -> None:
    policy = {"max_retries": 0}
    away = {"broker_url": "amqp://127.0.0.1:1//", "task_publish_retry_policy": policy}
    steps = make_steps(server, emulator, **away)
    capture(steps.journal)
    cli = Commands(steps.app)
    assert "the broker cannot be reached" in cli.said("flush", code=3)
    (lane,) = cli.json("lanes")["lanes"]
    assert lane["next_flush_why"] == "it was asked for", "it goes at the next tick all the same"


def test_wrong_usage_is_answered_with_what_is_right(cli: Commands) -> None:
    assert "Did you mean 'lanes'?" in cli.said("lane", code=2)
    assert "No such option" in cli.said("lanes", "--nobody", code=2)
    assert "Missing argument" in cli.said("hold", code=2)
    assert "Invalid value for '--state'" in cli.said("batches", "--state", "closd", code=2)


def test_every_command_explains_itself(cli: Commands) -> None:
    listed = cli.out("--help")
    for name in batchq_cli.COMMANDS:
        assert f"  {name} " in listed
        assert f"batchq {name} " in cli.out(name, "--help")


def test_a_name_that_would_steer_a_terminal_does_not(steps: Steps, cli: Commands) -> None:
    lane = Lane(account="default", endpoint="/v1/x", model="\x1b[2J", label="new\nline")
    capture(steps.journal, lane=lane)
    steps.journal.store.redis.hset("{batchq}:task:evil", "name", "\x1b]0;owned\x07")
    shown = cli.out("lanes") + cli.out("status") + cli.out("show", "evil")
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_a_table_can_be_read_by_programs_too() -> None:
    lines = list(table(["NAME", ">COUNT", "WHY"], [["a", 1234, None], ["bcdefg", 0, "so it is"]]))
    assert lines == [
        "NAME    COUNT  WHY",
        "a       1,234  -",
        "bcdefg      0  so it is",
    ]


# In a process of its own


def celery(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "celery", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def test_celery_knows_the_commands(steps: Steps) -> None:
    capture(steps.journal)
    done = celery("--app", "tests.apps.journey", "batchq", "lanes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lanes"][0]["lane"] == LANE.name
    assert done.stderr == ""


def test_exit_codes_reach_the_shell(redis_url: str) -> None:
    done = celery("--app", "tests.apps.journey", "batchq", "show", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: there is no task, prompt or batch 'nobody'")


def test_who_has_seen_enough_ends_it_quietly(steps: Steps) -> None:
    """`batches | head` said "Exception ignored … BrokenPipeError" and ended with 120."""
    ended(steps)
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "celery", "--app", "tests.apps.journey", "batchq", "batches"]
    done = subprocess.run(
        argv, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_long_work_shows_how_far_it_is_where_somebody_looks(tmp_path: Any) -> None:
    file = tmp_path / "large.jsonl"
    line = json.dumps({"model": "gpt-5.6-luna", "input": "a" * 10_000})
    file.write_text(f"{line}\n" * 250)
    argv = [sys.executable, "-m", "celery", "batchq", "estimate", str(file), "--json"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen = b"".join(_until_closed(ours))
    out, _ = process.communicate(timeout=60)
    assert b"large.jsonl  [" in seen
    assert b"100%" in seen
    assert json.loads(out)["total"]["calls"] == 250
    assert celery(*argv[3:]).stderr == "", "nobody looks at a pipe"


def _until_closed(terminal: int) -> Iterator[bytes]:
    # Linux says by an error that nobody is at the other end any more.
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            yield part
    os.close(terminal)


def test_what_celery_imports_for_it_is_next_to_nothing() -> None:
    """All of Celery's commands wait for it: `import batchq` alone takes 0.2 s."""
    code = (
        "import sys, celery.bin.celery, difflib, importlib\n"
        "before = set(sys.modules) - {'batchq_cli'}\n"
        "import batchq_cli\n"
        "print(sorted(set(sys.modules) - before))"
    )
    # Without our own entry point, which would be imported by then.
    hidden = "import importlib.metadata as m; m.entry_points = lambda **_: []\n"
    done = subprocess.run(
        [sys.executable, "-c", hidden + code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['batchq_cli']"


def test_the_entry_point_is_the_group() -> None:
    from importlib.metadata import entry_points

    (ours,) = entry_points(group="celery.commands", name="batchq")
    assert ours.load() is batchq_cli.batchq
    assert isinstance(batchq_cli.batchq, click.Group)
    assert package.__file__
