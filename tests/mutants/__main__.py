"""Take the guards of the recovery code away, one at a time: some test must turn red.

    python -m tests.mutants [--only WORD] [--jobs N] [--list] [--write]

Each mutant (catalogue.py) is made in a copy of the project, and its killers run there. First they
run in a copy without a mutant, where they must be green. Exits with 1 where a mutant survives.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.faults.report import Table, write
from tests.harness import ROOT
from tests.mutants.catalogue import MUTANTS, Mutant

_COPIED = ("batchq", "tests", "demo", "examples", "pyproject.toml", "celeryconfig.py")
_PATIENCE = 300
"""Seconds after which a mutant that neither passes nor fails counts as killed: it hangs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    mutant: Mutant
    killer: str
    seconds: float

    @property
    def killed(self) -> bool:
        return bool(self.killer)


def main() -> int:
    options = _options()
    mutants = [mutant for mutant in MUTANTS if options.only in f"{mutant.name} {mutant.file}"]
    if options.list:
        for mutant in mutants:
            print(f"{mutant.file:32} {mutant.name}: {', '.join(mutant.killers)}")
        return 0
    with tempfile.TemporaryDirectory(prefix="batchq-mutants-") as folder:
        if not _is_green(Path(folder), sorted({k for m in mutants for k in m.killers})):
            return 1
        with ThreadPoolExecutor(options.jobs) as pool:
            verdicts = list(pool.map(lambda mutant: _judge(Path(folder), mutant), mutants))
    survivors = [verdict for verdict in verdicts if not verdict.killed]
    print(f"{len(verdicts)} mutants, {len(verdicts) - len(survivors)} killed")
    for survivor in survivors:
        print(f"SURVIVES: {survivor.mutant.file}: {survivor.mutant.name}")
    if options.write:
        write(_table(verdicts))
    return 1 if survivors else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name or file holds this")
    parser.add_argument("--jobs", type=int, default=3, help="how many run side by side")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    parser.add_argument("--write", action="store_true", help="write the table to the documents")
    return parser.parse_args()


def _is_green(folder: Path, killers: list[str]) -> bool:
    """The killers pass where nothing is taken away; otherwise they prove nothing."""
    copy = _copy(folder, "unchanged")
    run = _run(copy, killers, "-n", "3", "--dist", "loadfile")
    if run.returncode:
        print(run.stdout[-6000:])
        print("the killers are not green without a mutant")
    return run.returncode == 0


def _judge(folder: Path, mutant: Mutant) -> Verdict:
    started = time.monotonic()
    copy = _copy(folder, re.sub(r"\W+", "-", f"{mutant.file}-{mutant.name}"))
    file = copy / mutant.file
    file.write_text(mutant.apply(file.read_text()))
    try:
        run = _run(copy, list(mutant.killers), "-x")
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", run.stdout, re.MULTILINE)
        killer = found[1].rpartition("/")[2] if found else ""
        if run.returncode and not killer:
            killer = "nothing can be imported" if run.returncode != 1 else "a failing test"
    except subprocess.TimeoutExpired:
        killer = f"nothing ends within {_PATIENCE} s"
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    seconds = time.monotonic() - started
    print(f"{'killed  ' if killer else 'SURVIVES'} {seconds:5.1f} s  {mutant.name}  {killer}")
    return Verdict(mutant, killer, seconds)


def _copy(folder: Path, name: str) -> Path:
    copy = folder / name
    copy.mkdir()
    for part in _COPIED:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, copy / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, copy / part)
    return copy


def _run(copy: Path, tests: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-q", "--timeout", "90", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*argv, *options, *tests],
        cwd=copy,
        # The copy, and not what is installed.
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE if "-x" in options else None,
        check=False,
    )


def _table(verdicts: list[Verdict]) -> Table:
    rows = [
        (f"`{v.mutant.file}`", v.mutant.name, f"`{v.killer}`" if v.killed else "**survives**")
        for v in verdicts
    ]
    killed = sum(verdict.killed for verdict in verdicts)
    return Table(
        name="mutants",
        command="make mutants",
        summary=f"{len(verdicts)} mutants, {killed} killed.",
        head=("file", "what is taken away", "the test that turns red"),
        rows=rows,
    )


if __name__ == "__main__":
    sys.exit(main())
