"""What the documents say is there: files, commands, names, and the words of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import batchq
import batchq_pytest
from batchq.observe.catalogue import METRICS
from batchq.settings.record import Settings
from tests.harness import ROOT

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
LIFECYCLE = (ROOT / "docs/lifecycle.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def blocks(text: str, language: str) -> Iterator[str]:
    yield from re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The headings of a document as GitHub links to them."""
    titles = re.findall(r"^#+ (.+)$", prose(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@every_document
def test_a_link_inside_the_repository_leads_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_document
def test_python_in_a_document_compiles(path: Path) -> None:
    for block in blocks(path.read_text(), "python"):
        ast.parse(block)


@every_document
def test_a_make_command_exists(path: Path) -> None:
    rules = re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    code = re.findall(r"`make ([a-z][\w-]*)|^ *make ([a-z][\w-]*)", path.read_text(), re.MULTILINE)
    assert {one or other for one, other in code} <= set(rules)


@every_document
def test_a_setting_exists(path: Path) -> None:
    known = {f"batchq_{name}" for name in Settings.model_fields}
    known |= {metric.name for metric in METRICS.values()}
    known |= {name for name in vars(batchq_pytest) if name.startswith("batchq_")}  # Fixtures.
    named = set(re.findall(r"`(batchq_\w+)`", path.read_text()))
    assert named - known == set()


@every_document
def test_a_public_name_exists(path: Path) -> None:
    named = set(re.findall(r"\bbatchq\.([A-Za-z]\w*)\b(?=[`(.:])", path.read_text()))
    modules = {file.stem for file in (ROOT / "batchq").iterdir()}
    tasks = {file.stem for file in (ROOT / "batchq/flow").iterdir()}
    # Spans and their attributes are named so as well.
    spans = path.name == "tracing.md" and (ROOT / "batchq/observe/tracing.py").read_text()
    said = set(re.findall(r"\w+", spans or ""))
    assert named - set(batchq.__all__) - modules - tasks - said - loggers() == set()


def loggers() -> set[str]:
    code = "".join(path.read_text() for path in (ROOT / "batchq").rglob("*.py"))
    return set(re.findall(r'getLogger\("batchq\.(\w+)"\)', code))


def test_every_setting_is_documented() -> None:
    table = (ROOT / "docs/configuration.md").read_text()
    assert [name for name in Settings.model_fields if f"| `batchq_{name}` |" not in table] == []


def test_the_first_screen_says_that_the_body_runs_again() -> None:
    """What nobody expects, and what costs the most to find out later."""
    first = "\n".join((ROOT / "README.md").read_text().splitlines()[:36])
    assert "runs again from the top" in first
    assert "batchq.once" in first


def test_every_word_of_a_script_is_in_the_lifecycle() -> None:
    for script in (ROOT / "batchq/journal/lua").rglob("*.lua"):
        code = re.sub(
            r"redis\.p?call\(\s*\"[A-Z]+\"|--.*|\"(?:PX|MAXLEN|COUNT)\"", "", script.read_text()
        )
        for word in re.findall(r'"([A-Z]{2,})"', code):
            assert f"`{word}`" in LIFECYCLE, f"{script.name} returns {word}"


def test_every_script_is_in_the_lifecycle() -> None:
    names = {script.stem for script in (ROOT / "batchq/journal/lua").glob("*.lua")}
    # `sent` and the like are English words too, so they count as code only.
    missing = {name for name in names if f"`{name}`" not in LIFECYCLE}
    assert missing == set()


def test_every_state_of_a_batch_is_in_the_lifecycle() -> None:
    folders = (ROOT / "batchq/flow", ROOT / "batchq/journal/lua")
    code = "".join(path.read_text() for folder in folders for path in folder.glob("*.*"))
    set_to = r'(?:HSET(?:NX)?", \S+ "state", |\bstate=|"state": )"(\w+)"'
    written = re.findall(set_to, code)
    assert set(written) == {"sealed", "uploaded", "submitted", "finished", "closed"}
    assert [state for state in set(written) if f"| `{state}` |" not in LIFECYCLE] == []


def test_every_key_is_in_the_schema() -> None:
    source = "".join(path.read_text() for path in (ROOT / "batchq/journal").glob("*.py"))
    kinds = set(re.findall(r'\b_?key\("(\w+)"', source))
    kinds |= set(re.findall(r'\b_?key\(name\) for name in \("([^)]+)"\)', source))
    named = {kind for found in kinds for kind in re.findall(r"\w+", found)}
    missing = [kind for kind in sorted(named) if not re.search(rf"`{kind}[:`]", ARCHITECTURE)]
    assert missing == []


def test_every_step_is_on_the_map() -> None:
    steps = {path.stem for path in (ROOT / "batchq/flow").glob("*.py")} - {"__init__"}
    assert [name for name in sorted(steps) if name not in ARCHITECTURE] == []


def test_every_guarantee_is_held_by_a_test() -> None:
    text = (ROOT / "docs/guarantees.md").read_text()
    sentences = re.findall(r"^- .+$", text, re.MULTILINE)
    assert len(sentences) > 20
    assert [one for one in sentences if "`tests/" not in one] == []
    for file, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text):
        source = (ROOT / file).read_text()
        assert not name or f"def {name}(" in source, f"{file}::{name}"
