"""An account without credit, with workers, beat and the commands: from `delay()` to `get()`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from batchq.journal import journal_of
from tests.apps import plain_prompts
from tests.harness import ROOT, Stack, wait_until


def batchq(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "celery", "-A", "tests.apps.plain_prompts", "batchq", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_tasks_wait_for_credit_and_have_their_results(stack: Stack) -> None:
    stack.emulator.fault("no_credit")
    worker = stack.worker("tests.apps.plain_prompts")
    stack.beat("tests.apps.plain_prompts")
    sent = [plain_prompts.say.delay(f"text {at}") for at in range(15)]
    journal = journal_of(plain_prompts.app)

    def paused() -> Any:
        return journal.pauses.get("default")

    wait_until(paused, description="the account is paused")
    wait_until(lambda: paused().tries >= 3, description="small batches try in vain")
    because = "its credit is used up or its bill is not paid (insufficient_quota)"
    told = json.loads(batchq("check", "--json", "--skip", "workers").stdout)
    (problem,) = [one for one in told["checks"] if one["level"] == "problem"]
    assert because in problem["what"]
    assert "`release --account default`" in problem["do"]
    assert f"account default is paused, because {because}" in batchq("lanes").stdout
    assert json.loads(batchq("status", "--json").stdout)["paused"][0]["because"] == because
    assert batchq("release", "--account", "default").stdout == "account default goes on\n"
    wait_until(paused, description="there is no credit still")
    stack.emulator.lift("no_credit")
    assert all(each.get(timeout=60) for each in sent)
    log = worker.output()
    assert "account default is paused" in log
    assert "account default goes on" in log
    assert stack.emulator.ledger()["duplicates"] == {}
