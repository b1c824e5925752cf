"""The plugin: fixtures wherever Batchq is installed, and no cost where nobody uses them."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

TASKS = """
    from celery import Celery
    from openai import OpenAI
    import batchq

    app = batchq.install(Celery("suite", broker="redis://127.0.0.1:1/0"))

    @app.task
    @batchq.batched_llm_task
    def ask(text):
        return OpenAI().responses.create(model="m", input=text).output_text
"""


def run(directory: Path, tests: str, **files: str) -> str:
    """What pytest says of these tests, in a process and a folder of its own."""
    for name, text in {"test_it": tests, **files}.items():
        lines = text.strip("\n").splitlines()
        indent = len(lines[0]) - len(lines[0].lstrip())
        (directory / f"{name}.py").write_text("\n".join(line[indent:] for line in lines) + "\n")
    (directory / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q"]
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=100
    )
    return done.stdout + done.stderr


def test_it_is_registered_where_batchq_is_installed() -> None:
    (ours,) = importlib.metadata.entry_points(group="pytest11", name="batchq")
    assert ours.value == "batchq_pytest"


def test_it_imports_nothing_for_those_who_do_not_use_it(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
        import sys

        def test_nothing():
            heavy = {"batchq", "celery", "openai", "httpx", "httpx2", "redis", "pydantic"}
            assert "batchq_pytest" in sys.modules
            assert heavy.isdisjoint(name.partition(".")[0] for name in sys.modules)
        """,
    )
    assert "1 passed" in said, said


def test_answers_stand_to_the_end_of_the_test(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
        from tasks import ask, app

        def test_one(batchq_answers):
            asked = batchq_answers({"hello": "hi"})
            assert ask.delay("hello").get() == "hi"
            asked.assert_asked(contains="hello", times=1)

        def test_none():
            assert not app.conf.task_always_eager
        """,
        tasks=TASKS,
    )
    assert "2 passed" in said, said


def test_a_test_that_goes_step_by_step(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
        from tasks import ask

        def test_one(batchq_manual):
            result = ask.delay("hello")
            batchq_manual.flush()
            batchq_manual.answer("hi")
            batchq_manual.resume()
            assert result.get() == "hi"
        """,
        tasks=TASKS,
    )
    assert "1 passed" in said, said


def test_what_has_no_answer_fails_its_test_once(tmp_path: Path) -> None:
    """A failure that the body has swallowed is told by the fixture; one that came through is not
    told twice.
    """
    said = run(
        tmp_path,
        """
        from tasks import ask

        def test_through(batchq_answers):
            batchq_answers({})
            ask.delay("hello")

        def test_swallowed(batchq_answers):
            batchq_answers({})
            try:
                ask("again")
            except BaseException:
                pass
        """,
        tasks=TASKS,
    )
    assert "1 failed, 1 passed, 1 error" in said, said
    assert "Unanswered: the test has no answer to what was asked: tasks.ask" in said


def test_the_emulator_is_as_new_for_each_test(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
        import pytest
        from tasks import ask

        @pytest.mark.parametrize("text", ["one", "two"])
        def test_live(batchq_emulator, text):
            assert ask(text)
            assert batchq_emulator.ledger()["live_calls"] == 1
        """,
        tasks=TASKS,
    )
    assert "2 passed" in said, said
