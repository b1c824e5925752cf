"""The emulator as a program: its start, its control calls, its end."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from batchq.emulator import Emulator, running
from batchq.emulator.catalogue import CATALOGUE
from tests.emulator.support import Desk, lines, wait_until

DOCUMENT = Path(__file__).parents[2] / "docs" / "emulator.md"


def _control(emulator: Emulator, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    with closing(HTTPConnection(emulator.root.removeprefix("http://"))) as connection:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.load(answer)


def test_it_says_where_it_is_and_ends_on_a_signal() -> None:
    command = [sys.executable, "-m", "batchq.emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert re.fullmatch(r"emulator ready on http://127\.0\.0\.1:\d+/v1\n", ready)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_it_does_not_outlive_who_started_it() -> None:
    starter = (
        "from batchq.emulator import Emulator\n"
        "emulator = Emulator([], api_key='k')\n"
        "emulator.start()\n"
        "print(emulator.pid, flush=True)\n"
        "import os, signal\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, check=False
    )
    pid = int(ended.stdout)

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return _zombie(pid)

    wait_until(gone, description="the emulator has ended")


def _zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True


def test_it_starts_on_the_same_port_again(tmp_path: Path) -> None:
    with running(data=tmp_path) as emulator:
        url, pid = emulator.url, emulator.pid
        emulator.kill()
        emulator.start()
        assert emulator.url == url
        assert emulator.pid != pid


@pytest.mark.parametrize(
    "arguments", [["--window", "-1"], ["--faults", "rows_429:lunch=1"], ["--lunch"]]
)
def test_a_wrong_command_line_is_refused(arguments: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "batchq.emulator", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    assert arguments[0] in ended.stderr or "lunch" in ended.stderr


def test_health(api: Desk) -> None:
    status, health = _control(api.emulator, "GET", "/emulator/health")
    assert (status, health["status"], health["open_batches"]) == (200, "ok", 0)


@pytest.mark.parametrize("advance", [None, "an hour", -1])
def test_time_only_goes_forward(emulator: Emulator, advance: object) -> None:
    status, _ = _control(emulator, "POST", "/emulator/clock", {"advance": advance})
    assert status == 400


def test_calls_are_answered_while_lines_run(api: Desk) -> None:
    """A long run yields often: the batch is seen in progress by a client that only polls."""
    batch = api.submit(lines(8000))
    seen = set[int]()

    def done() -> bool:
        now = api.client.batches.retrieve(batch.id)
        assert now.request_counts is not None
        seen.add(now.request_counts.completed)
        return now.status == "completed"

    wait_until(done, description="the batch is completed")
    assert len(seen) > 5


def test_the_document_lists_every_fault() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", DOCUMENT.read_text(), re.MULTILINE)
    listed = {name: (options, description) for name, options, description in rows}
    assert {name: listed.get(name) for name in CATALOGUE} == {
        fault.name: (
            ", ".join(f"`{name}`" for name in fault.options if name != "times") or "-",
            fault.description,
        )
        for fault in CATALOGUE.values()
    }


def test_the_document_lists_every_option() -> None:
    usage = subprocess.run(
        [sys.executable, "-m", "batchq.emulator", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", usage)) - {"--help"}
    text = DOCUMENT.read_text()
    assert {option for option in options if f"`{option}" not in text} == set()
