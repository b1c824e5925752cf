"""What `make clients` runs elsewhere and docs/clients.md tells: nothing is tried and not told."""

from __future__ import annotations

import re

import pytest

from tests.clients.catalogue import CLIENTS, ENVIRONMENTS, ROUNDS, Client
from tests.harness import ROOT

FOLDER = ROOT / "tests" / "clients"
DOCUMENT = (ROOT / "docs" / "clients.md").read_text()


def pins(environment: str) -> dict[str, str]:
    lines = (FOLDER / f"{environment}.txt").read_text().splitlines()
    return dict(line.lower().split("==") for line in lines)


def test_every_file_of_tests_is_run() -> None:
    files = {path.name for path in FOLDER.glob("with_*.py")}
    assert files == {client.file for client in CLIENTS} | {ROUNDS}


def test_every_environment_is_made_and_used() -> None:
    made = {path.stem for path in FOLDER.glob("*.in")}
    assert made == set(ENVIRONMENTS) == {name for each in CLIENTS for name in each.environments}


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.package)
def test_a_client_has_its_rows(client: Client) -> None:
    for environment in client.environments:
        pinned = pins(environment)
        versions = f"{pinned[client.package]} | {pinned['openai']}"
        assert f"| {client.name} (`{client.package}`) | {versions} |" in DOCUMENT


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_is_asked_for_is_pinned(environment: str) -> None:
    wanted = re.findall(r"^[\w-]+", (FOLDER / f"{environment}.in").read_text(), re.MULTILINE)
    assert set(wanted) - set(pins(environment)) == set()
