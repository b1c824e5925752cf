"""The scripts of the journal, as they are written."""

from __future__ import annotations

import re

import pytest

from batchq.journal.clock import source_of
from tests.harness import ROOT

LUA = ROOT / "batchq/journal/lua"
SCRIPTS = sorted(
    str(path.relative_to(LUA)) for path in (*LUA.glob("*.lua"), LUA / "testing/pass.lua")
)
INCLUDES = sorted(str(path.relative_to(LUA)) for path in LUA.glob("includes/*.lua"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_takes_and_returns(name: str) -> None:
    text = (LUA / name).read_text()
    assert text.startswith("-- ")
    assert "-- KEYS:" in text
    assert "-- Returns:" in text


@pytest.mark.parametrize("name", [*SCRIPTS, *INCLUDES])
def test_a_script_makes_no_key_of_its_own(name: str) -> None:
    """A key that is not in KEYS lies in a slot of its own on a cluster."""
    text = (LUA / name).read_text()
    keys = re.findall(r"redis\.p?call\(\"[A-Z]+\",?\s*([^,)]*)", text)
    assert [key for key in keys if '"' in key or ".." in key] == []
    for word in ("KEYS", "SCAN", "unpack(", "os.time"):
        assert f'"{word}"' not in text


@pytest.mark.parametrize("name", [name for name in INCLUDES if name != "includes/args.lua"])
def test_an_include_takes_what_it_needs(name: str) -> None:
    """Which key stands where is for the script to know, and for nobody else."""
    assert not re.search(r"\b(KEYS|ARGV)\b", (LUA / name).read_text())


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_included_twice_is_there_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHQ_TEST_CLOCK", raising=False)
    source = source_of(name.removesuffix(".lua"), "{batchq}")
    defined = re.findall(r"^local function (\w+)", source, re.MULTILINE)
    assert len(defined) == len(set(defined))
    assert "@include" not in source
