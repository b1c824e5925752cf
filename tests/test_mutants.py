"""The catalogue of mutants fits the code: `make mutants` runs it, these tests keep it runnable."""

from __future__ import annotations

import ast

import pytest

from tests.harness import ROOT
from tests.mutants.catalogue import MUTANTS, Mutant

every_mutant = pytest.mark.parametrize(
    "mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.name}"
)


@every_mutant
def test_what_a_mutant_takes_away_is_in_its_file_once(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert mutant.apply(text) != text


@every_mutant
def test_its_killers_exist(mutant: Mutant) -> None:
    assert mutant.killers
    for killer in mutant.killers:
        file, _, name = killer.partition("::")
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / file).read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        assert not name or name in functions, killer
