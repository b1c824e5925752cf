"""The package as its users get it: its names, what importing it does, what is in the wheel."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import batchq
from tests.harness import ROOT

HATCHLING = importlib.util.find_spec("hatchling") is not None


def run(code: str) -> str:
    """What a fresh Python prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_sorted_and_there() -> None:
    assert list(batchq.__all__) == sorted(batchq.__all__)
    for name in batchq.__all__:
        assert hasattr(batchq, name)


def test_the_public_names_are_those_of_the_reference() -> None:
    reference = (ROOT / "docs/reference.md").read_text().partition("## Celery's side")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", reference, re.MULTILINE)) == batchq.__all__


def test_a_public_name_says_what_it_is() -> None:
    assert [name for name in batchq.__all__ if not getattr(batchq, name).__doc__] == []


def test_importing_opens_no_connection() -> None:
    """A connection that a worker carries over its fork hangs one of the two."""
    assert run(
        "import socket\n"
        "def refuse(*_): raise AssertionError('a connection')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import batchq\n"
        "print('fine')"
    )


def test_importing_is_quick_for_who_only_sends_tasks() -> None:
    """The SDK takes a second to import, and a web process may never need it."""
    print_loaded = "print([name for name in ('openai', 'tornado') if name in sys.modules])"
    assert run(f"import sys, batchq; {print_loaded}").strip() == "[]"


def test_importing_and_decorating_finalize_no_app() -> None:
    """An app that is finalized early misses the tasks and settings of later modules."""
    assert (
        run(
            "from celery import Celery, shared_task\n"
            "import batchq\n"
            "app = batchq.install(Celery('app', broker='redis://127.0.0.1:1/0'))\n"
            "@app.task\n"
            "@batchq.batched_llm_task\n"
            "def one(): ...\n"
            "@batchq.batched_llm_task\n"
            "@app.task\n"
            "def two(): ...\n"
            "@batchq.batched_llm_task\n"
            "@shared_task\n"
            "def three(): ...\n"
            "print(app.finalized)"
        ).strip()
        == "False"
    )


def test_the_wheel_is_configured_to_hold_the_whole_package() -> None:
    """Hatchling takes every file of a package that git does not ignore."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {
        "only-include": ["batchq", "batchq_cli.py", "batchq_pytest.py"]
    }
    ignored = (ROOT / ".gitignore").read_text().split()
    assert not {"*.lua", "py.typed", "batchq/journal/lua"} & set(ignored)
    assert (ROOT / "batchq/py.typed").exists()


@pytest.mark.skipif(not HATCHLING, reason="hatchling is not installed, and tests download nothing")
def test_the_wheel_holds_scripts_and_types(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", str(tmp_path)], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "batchq").rglob("*"):
        if path.suffix in {".py", ".lua", ".typed"}:
            assert str(path.relative_to(ROOT)) in held
    beside = ("batchq/", "batchq-", "batchq_cli.py", "batchq_pytest.py")
    assert not [name for name in held if not name.startswith(beside)]
