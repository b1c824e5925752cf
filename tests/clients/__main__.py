"""Try every client in its environment, and write the tables of docs/clients.md.

    python -m tests.clients [--only WORD] [--jobs N] [--write]

Each file runs in a process of its own: some clients change the SDK for all that is in a process.
Exits with 1 where a test is red; the table says then what does not work.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.catalogue import CLIENTS, ENVIRONMENTS, ROUNDS, Client
from tests.faults.report import Table, write
from tests.harness import ROOT

DOCUMENT = ROOT / "docs" / "clients.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What one file's tests said in one environment."""

    file: str
    environment: str
    client: Client | None
    versions: Mapping[str, str]
    results: Sequence[Mapping[str, Any]]

    @property
    def red(self) -> list[str]:
        return [str(each["test"]) for each in self.results if not each["passed"]]


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="batchq-clients-") as folder:
        jobs = [job for job in _jobs() if options.only in f"{job[0]} {job[1]}"]
        with ThreadPoolExecutor(options.jobs) as pool:
            tried = list(pool.map(lambda job: _try(Path(folder), *job), jobs))
    red = [f"{each.environment}: {test}" for each in tried for test in each.red]
    print(f"{sum(len(each.results) for each in tried)} tests, {len(red)} red")
    print("\n".join(red))
    if options.write:
        write(_clients(tried), DOCUMENT)
        write(_rounds(tried), DOCUMENT)
    return 1 if red else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("--only", default="", help="files or environments whose name holds this")
    parser.add_argument("--jobs", type=int, default=2, help="how many run side by side")
    parser.add_argument("--write", action="store_true", help="write the tables to the document")
    return parser.parse_args()


def _jobs() -> Iterator[tuple[str, str, Client | None]]:
    for client in CLIENTS:
        for environment in client.environments:
            yield client.file, environment, client
    yield ROUNDS, ENVIRONMENTS[0], None


def _try(folder: Path, file: str, environment: str, client: Client | None) -> Tried:
    found = folder / f"{environment}-{file}.json"
    python = ROOT / f".venv-clients-{environment}" / "bin" / "python"
    # What others' packages warn of is for their makers.
    options = ("-q", "--tb=short", "-W", "ignore", "-p", "no:cacheprovider")
    record = ("-p", "tests.clients.record", "--record", str(found))
    run = subprocess.run(
        [str(python), "-m", "pytest", *record, *options, f"tests/clients/{file}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if not found.exists():
        raise RuntimeError(f"{file} did not run in {environment}:\n{run.stdout}{run.stderr}")
    tried = Tried(
        file=file, environment=environment, client=client, **json.loads(found.read_text())
    )
    print(f"{'red  ' if run.returncode else 'green'}  {environment:10}  {file}", flush=True)
    if run.returncode:
        print(run.stdout[-6000:], flush=True)
    return tried


def _clients(tried: Sequence[Tried]) -> Table:
    rows = [_row(each, each.client) for each in tried if each.client is not None]
    return Table(
        name="clients",
        command="make clients",
        summary=f"{len(rows)} rows, {sum(len(each.results) for each in tried)} tests.",
        head=("client", "version", "openai", "what works", "what to set"),
        rows=rows,
    )


def _row(tried: Tried, client: Client) -> tuple[str, ...]:
    works = [str(each["works"]) for each in tried.results if each["passed"]]
    fails = [str(each["works"]).rstrip(".") for each in tried.results if not each["passed"]]
    said = "; ".join(name for name in works if not name.endswith("."))
    if fails:
        said = f"{said}{'. ' if said else ''}**Not:** {'; '.join(fails)}"
    versions = (tried.versions[client.package], tried.versions["openai"])
    return (f"{client.name} (`{client.package}`)", *versions, said, client.to_set)


def _rounds(tried: Sequence[Tried]) -> Table:
    measured = [each for one in tried if one.file == ROUNDS for each in one.results]
    rows = [(each["works"], each["calls"], each.get("rounds", "")) for each in measured]
    return Table(
        name="rounds",
        command="make clients",
        summary="",
        head=("a body that asks so", "calls", "rounds"),
        rows=rows,
    )


if __name__ == "__main__":
    sys.exit(main())
