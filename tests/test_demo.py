"""`make demo`: it works from one end to the other, and whenever it ends it leaves nothing."""

import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from demo import texts
from tests.harness import MARK, Process, Stack, left_running, wait_until

pytestmark = pytest.mark.long

PARAGRAPHS = [
    f"Paragraph {number} is about the error in import number {number}." for number in range(20)
]


@pytest.fixture
def demo(stack: Stack, tmp_path: Path) -> Callable[..., Process]:
    """Starts the demo on a small file; the demo brings its own servers."""
    file = tmp_path / "small.txt"
    file.write_text("\n\n".join(PARAGRAPHS))

    def start(*options: str) -> Process:
        argv = [
            sys.executable,
            "-m",
            "demo",
            "--input",
            str(file),
            "--batch-seconds",
            "1",
            *options,
        ]
        return stack.process(argv, name="demo")

    return start


@pytest.fixture
def services(stack: Stack) -> Callable[[], list[str]]:
    """Asks what runs besides the demo itself and this test's own servers."""
    before = left_running(os.environ[MARK], but_for=[])

    def running() -> list[str]:
        demos = [process.pid for process in stack.processes]
        now = left_running(os.environ[MARK], but_for=demos)
        return [line for line in now if line not in before]

    return running


def test_the_demo_answers_every_task_and_ends(demo: Callable[..., Process]) -> None:
    process = demo()
    assert process.wait(timeout=100) == 0, process.output()
    output = process.output()
    assert "20 paragraphs, classified" in output
    assert "2 summaries" in output
    assert "26 prompts" in output
    assert "paid for twice: 0" in output


def test_the_demo_points_at_a_page_that_is_full_of_its_run(demo: Callable[..., Process]) -> None:
    process = demo("--keep")
    process.wait_for_output("look around", timeout=100)
    found = re.search(r"Batches page: (\S+)", process.output())
    assert found is not None
    with urllib.request.urlopen(found[1]) as page:
        text = page.read().decode()
    assert "gpt-5.6-luna" in text
    assert "text-embedding-3-small" in text
    assert "completed" in text
    assert "unknown" not in re.sub(r"<[^>]*>", "", text), "each batch has its price"
    process.send(signal.SIGINT)
    assert process.wait(timeout=30) == 130


@pytest.mark.parametrize("moment", ["starting Valkey", "sending 24 tasks", " batches ", "Ctrl-C"])
def test_ctrl_c_leaves_nothing_running(
    demo: Callable[..., Process], services: Callable[[], list[str]], moment: str
) -> None:
    """The demo's services are in sessions of their own, so the terminal would not end them."""
    process = demo(*["--keep"] * (moment == "Ctrl-C"))
    process.wait_for_output(moment, timeout=100)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert not services()
    assert "Traceback" not in process.output()


def test_an_impatient_second_ctrl_c_leaves_nothing_running(
    demo: Callable[..., Process], services: Callable[[], list[str]]
) -> None:
    process = demo()
    process.wait_for_output("sending 24 tasks")
    process.send(signal.SIGINT)
    process.send(signal.SIGTERM)
    process.send(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert not services()


def test_a_service_that_dies_ends_the_demo_with_its_log(
    demo: Callable[..., Process], services: Callable[[], list[str]]
) -> None:
    process = demo()
    process.wait_for_output("sending 24 tasks")
    (emulator,) = [line for line in services() if "batchq.emulator" in line]
    os.kill(int(emulator.split(":")[0]), signal.SIGKILL)
    assert process.wait(timeout=30) == 1
    assert "emulator ended with -9" in process.output()
    wait_until(lambda: not services(), description="the services are gone")


def test_the_manual_of_this_python_is_long_enough() -> None:
    sections = texts.manual()
    paragraphs = [text for section in sections for text in section.paragraphs]
    assert len(paragraphs) >= 1000
    assert len(paragraphs) == len(set(paragraphs))


def test_a_text_is_read_by_its_paragraphs(tmp_path: Path) -> None:
    file = tmp_path / "some.txt"
    file.write_text("one\ntwo\n\n\nthree\n")
    (section,) = texts.read(file)
    assert section.paragraphs == ["one two", "three"]


@pytest.mark.parametrize(
    ("rows", "paragraphs"),
    [("id,text\n1,one\n2,\n3,three\n", ["one", "three"]), ("a,b\n1,one\n", ["1, one"])],
)
def test_a_csv_is_read_by_its_text_column(tmp_path: Path, rows: str, paragraphs: list[str]) -> None:
    """Without a column of that name, by whole rows."""
    file = tmp_path / "some.csv"
    file.write_text(rows)
    (section,) = texts.read(file)
    assert section.paragraphs == paragraphs


def test_a_jsonl_is_read_by_its_text_field(tmp_path: Path) -> None:
    """A line without that field is taken whole."""
    file = tmp_path / "some.jsonl"
    file.write_text('{"text": "one"}\n\n"two"\n{"a": 1}\n')
    (section,) = texts.read(file)
    assert section.paragraphs == ["one", "two", json.dumps({"a": 1})]


def test_a_file_without_text_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "empty.txt"
    file.touch()
    with pytest.raises(ValueError, match="holds no text"):
        texts.read(file)
