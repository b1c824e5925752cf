"""The examples run as they stand: a worker of its own for each, and its program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.harness import API_KEY, ROOT, Stack

pytestmark = pytest.mark.long

#: What each program prints, by its name.
PROGRAMS = {
    "plain_app": ["'topic': 'invoice'", "'urgent': "],
    "shop": ["ticket 38, 1 mail"],
    "chord": ["sea 1"],
    "accounts": ["search -> ", "support -> ", "azure -> "],
    "retries": ["positive"],
    "backfill": ["4 sent, 0 were known"],
    "side_by_side": ["Who is it about?", "Where is it?", "When is it?"],
    "django_shop": [
        "beat has batchq.flush, batchq.rescue",
        "states seen: BATCHED, SUCCESS",
        *(f"ticket {number}: 1 run, 1 mail, '" for number in (1, 2)),
    ],
    "live": ["in this process: ", "in a worker: ", "in a batch: ", "one call of each: "],
}
#: Those with a test of their own.
APART = {"backfill", "retries", "side_by_side"}
#: What is done before its worker starts.
FIRST = {"django_shop": ["migrate", "--run-syncdb"]}
#: Those that serve: tests/test_webhook_mounts.py and tests/test_prometheus.py.
SERVERS = {"webhook_django", "webhook_fastapi", "webhook_flask", "metrics"}
EXAMPLES = ROOT / "examples"
MOST_LINES = 55

Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(shared_stack: Stack, _services: Mapping[str, Mapping[str, str]]) -> Run:
    """Runs an example's program to its end and returns what it printed."""

    def run(name: str, *words: Path) -> str:
        argv: list[str | Path] = [sys.executable, "-m", f"examples.{name}", *words]
        program = shared_stack.process(argv, name=name, environment=_services[name])
        assert program.wait(timeout=60) == 0, program.output()
        return program.output()

    return run


@pytest.fixture(scope="module")
def _services(shared_stack: Stack) -> dict[str, dict[str, str]]:
    """A worker with beat inside for each example, all started at once; gives their environments."""
    root = shared_stack.emulator.url.removesuffix("/v1")
    environments: dict[str, dict[str, str]] = {}
    for number, name in enumerate(PROGRAMS, 1):
        # A database each: a message must not reach another example's worker.
        environments[name] = {
            "REDIS_URL": shared_stack.server.url.removesuffix("/0") + f"/{number}",
            "BATCHQ_FLUSH_AFTER": "0",
            "BATCHQ_TICK": "0.3",
            "BATCHQ_POLL_FIRST": "0.2",
            "BATCHQ_POLL_LONGEST": "1",
            "SEARCH_OPENAI_KEY": f"{API_KEY}-search",
            "SUPPORT_OPENAI_KEY": f"{API_KEY}-support",
            "AZURE_OPENAI_API_KEY": f"{API_KEY}-azure",
            "AZURE_OPENAI_ENDPOINT": root,
            "OPENAI_API_VERSION": "2024-10-21",
            "SHOP_DATABASE": str(shared_stack.directory / "shop.sqlite3"),
        }
    # django-celery-beat keeps whole seconds.
    environments["django_shop"]["BATCHQ_TICK"] = "1"
    for name, words in FIRST.items():
        argv = [sys.executable, "-m", f"examples.{name}", *words]
        first = shared_stack.process(argv, name=f"{name}-first", environment=environments[name])
        assert first.wait(timeout=60) == 0, first.output()
    workers = [
        shared_stack.worker(
            f"examples.{name}",
            *("--beat", "--schedule", str(shared_stack.directory / f"{name}.beat")),
            pool="threads",
            environment=environment,
            wait=False,
        )
        for name, environment in environments.items()
    ]
    for worker in workers:
        worker.wait_for_output(" ready.", timeout=90)
    return environments


@pytest.mark.parametrize("name", sorted(PROGRAMS.keys() - APART))
def test_an_example_does_what_it_says(run: Run, name: str) -> None:
    printed = run(name)
    assert [text for text in PROGRAMS[name] if text not in printed] == []


def test_only_a_bad_answer_is_paid_for_again(shared_stack: Stack, run: Run) -> None:
    """The body of examples/retries.py runs three times to its end and asks twice."""
    before = shared_stack.emulator.ledger()["totals"]["batch"]["ok"]
    assert "positive" in run("retries")
    assert shared_stack.emulator.ledger()["totals"]["batch"]["ok"] - before == 2


def test_calls_side_by_side_share_a_batch(shared_stack: Stack, run: Run) -> None:
    """Two tasks of examples/side_by_side.py ask three questions each: at most a batch for each."""
    before = shared_stack.emulator.ledger()["batches_created"]
    printed = run("side_by_side")
    assert all(text in printed for text in PROGRAMS["side_by_side"])
    assert shared_stack.emulator.ledger()["batches_created"] - before <= 2


def test_a_backfill_that_is_started_again_asks_for_the_new_rows_alone(
    shared_stack: Stack, run: Run, tmp_path: Path
) -> None:
    source, target = tmp_path / "tickets.csv", tmp_path / "answers.jsonl"
    before = shared_stack.emulator.ledger()["totals"]["batch"]["ok"]
    for rows, printed in ((4, PROGRAMS["backfill"][0]), (6, "2 sent, 4 were known")):
        lines = [f"{number},My invoice {number} is wrong." for number in range(rows)]
        source.write_text("\n".join(["id,text", *lines]))
        assert printed in run("backfill", source, target)
        answers = [json.loads(line) for line in target.read_text().splitlines()]
        assert {answer["id"] for answer in answers} == set(map(str, range(rows)))
        assert all(answer["team"] for answer in answers)
    assert shared_stack.emulator.ledger()["totals"]["batch"]["ok"] - before == 6


def test_the_example_of_a_test_suite_passes(shared_stack: Stack) -> None:
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {"REDIS_URL": shared_stack.server.url.removesuffix("/0") + "/15"}
    suite = shared_stack.process(
        [*argv, EXAMPLES / "test_my_tasks.py"], name="suite", environment=environment
    )
    assert suite.wait(timeout=80) == 0, suite.output()
    assert "4 passed" in suite.output()


def test_every_example_is_run_and_short() -> None:
    files = {path.relative_to(EXAMPLES).parts[0] for path in EXAMPLES.rglob("*.py")}
    names = {Path(name).stem for name in files} - {"__init__", "test_my_tasks"}
    assert names == set(PROGRAMS) | SERVERS
    for path in EXAMPLES.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= MOST_LINES, path


def test_the_guide_to_the_examples_names_each_of_them() -> None:
    guide = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        if not path.name.startswith("_") and path.name != "README.md":
            assert f"({path.name}" in guide, path
