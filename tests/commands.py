"""The commands of `celery -A app batchq`, called in this process, as Celery calls them."""

from __future__ import annotations

import json
from typing import Any

from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner, Result

from batchq_cli import batchq


class Commands:
    """Runs commands on one app."""

    def __init__(self, app: Celery[Any]) -> None:
        self._context = CLIContext(app=app, no_color=True, workdir=None)

    def run(self, *words: str, code: int = 0, given: bytes | None = None) -> Result:
        """Run one command; what it raises is raised here, and its exit code is the one it has."""
        result = CliRunner().invoke(
            batchq, words, obj=self._context, input=given, catch_exceptions=False
        )
        assert result.exit_code == code, result.output
        return result

    def out(self, *words: str, code: int = 0, given: bytes | None = None) -> str:
        """What it prints for people."""
        return self.run(*words, code=code, given=given).stdout

    def said(self, *words: str, code: int = 0) -> str:
        """What it says beside that."""
        return self.run(*words, code=code).stderr

    def json(self, *words: str, code: int = 0, given: bytes | None = None) -> Any:
        return json.loads(self.run(*words, "--json", code=code, given=given).stdout)
