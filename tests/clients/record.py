"""A plugin of pytest: writes down what became of each test, for the tables.

    python -m pytest -p tests.clients.record --record FILE tests/clients/with_litellm.py

A docstring without a full stop is a cell of the table: it names what works. Others are sentences.
"""

from __future__ import annotations

import json
from importlib.metadata import distributions
from pathlib import Path

import pytest

_results: list[dict[str, object]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, help="the file to write")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        what = str(getattr(getattr(item, "function", None), "__doc__", None) or item.name)
        item.user_properties.append(("works", what.strip()))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "call" and report.passed:
        return
    said = dict(report.user_properties)
    _results.append({**said, "test": report.nodeid, "passed": report.passed})


def pytest_sessionfinish(session: pytest.Session) -> None:
    versions = {each.metadata["Name"].lower(): each.version for each in distributions()}
    found = {"versions": versions, "results": _results}
    file: Path = session.config.getoption("--record")
    file.write_text(json.dumps(found))
