"""What the commands share: exit codes, errors in words, JSON for programs.

What a command was asked for goes to stdout, and nothing else does: what it has to say beside that,
and its progress, goes to stderr.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any, Concatenate, Literal, NoReturn, ParamSpec

import click
import redis
from kombu.exceptions import OperationalError

from batchq.commands.cells import cell, printable, table
from batchq.errors import BatchqError, ConfigurationError
from batchq.installation import is_installed
from batchq.journal import ping
from batchq.settings.config import settings

__all__ = ["Exit", "Terminal", "command"]

P = ParamSpec("P")
Needs = Literal["nothing", "app", "redis"]
"""An ``app`` that has Batchq; for ``redis`` also settings that are right, and a Redis that answers.
"""


class Exit(IntEnum):
    """What a script can trust. One that is interrupted ends with 130, as a shell expects."""

    FINE = 0
    """All is well, or done."""
    PROBLEM = 1
    """A problem was found, or something that was asked for was not done."""
    WRONG = 2
    """The command was called wrongly, or the app's settings are wrong."""
    AWAY = 3
    """Redis or the broker does not answer, or refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Where a command's words go, and the app it is about."""

    app: Any
    as_json: bool = False

    def say(self, text: str = "") -> None:
        click.echo(text)

    def note(self, text: str) -> None:
        """Say something beside what was asked for."""
        click.echo(text, err=True)

    def give(self, shape: Any, *, indent: int | None = 2) -> None:
        """Print JSON."""
        click.echo(json.dumps(shape, indent=indent, default=_plain))

    def show(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a table, see `table`."""
        for line in table(columns, rows):
            click.echo(line)

    def fields(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Print names and their values, one on a line, without those that have none."""
        known = [(name, cell(value)) for name, value in pairs if value not in (None, "")]
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            click.echo(f"{name:{width}}  {value}")

    @contextmanager
    def progress(self, length: int, label: str) -> Generator[Callable[[int], None]]:
        """A bar on stderr, where somebody looks; the function that is given moves it on."""
        if not length or not sys.stderr.isatty():
            yield lambda _: None
            return
        with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
            yield bar.update


def _plain(value: object) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)


def command(
    *, needs: Needs = "redis"
) -> Callable[[Callable[Concatenate[Terminal, P], Exit]], click.Command]:
    """Make a command of a function: with ``--json``, an app that is ready, and errors in words.

    What it ``needs`` is looked at before: a Redis that is away is said to be so at once.
    """

    def made(function: Callable[Concatenate[Terminal, P], Exit]) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool = False, *args: P.args, **options: P.kwargs) -> None:  # noqa: FBT001, FBT002 click gives it by its name
            context = click.get_current_context()
            terminal = Terminal(app=context.obj.app, as_json=as_json)
            with _in_words(terminal.app):
                _prepare(terminal.app, needs)
                code = function(terminal, *args, **options)
                sys.stdout.flush()
            context.exit(code)

        with_json = click.option(
            "--json", "as_json", is_flag=True, help="Print JSON, for programs."
        )
        return click.command(function.__name__)(with_json(run))

    return made


def _prepare(app: Any, needs: Needs) -> None:
    if needs == "nothing":
        return
    if not is_installed(app):
        raise click.UsageError(
            f"the app {app.main or 'that was named'} has no Batchq. Name yours, as in "
            "`celery -A shop batchq status`; where it is made, batchq.install(app) is called."
        )
    if needs == "redis":
        # First: an app that is finalized with wrong settings says so in its log as well.
        settings(app)
        app.finalize()
        ping(app)


@contextmanager
def _in_words(app: Any) -> Generator[None]:
    """What goes wrong as a sentence and an exit code; no traceback where we know what it is."""
    try:
        yield
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    except BrokenPipeError:
        # Who reads has seen enough. Python would say on its way out that nobody reads any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(Exit.FINE) from None
    except ConfigurationError as error:
        _end(str(error), Exit.WRONG)
    except BatchqError as error:
        _end(str(error), Exit.PROBLEM)
    except redis.RedisError as error:
        _end(f"Redis {settings(app).shown_redis_url} cannot be used: {error}", Exit.AWAY)
    except OperationalError as error:
        _end(f"the broker cannot be reached: {error}", Exit.AWAY)


def _end(message: str, code: Exit) -> NoReturn:
    click.echo(f"Error: {printable(message)}", err=True)
    raise click.exceptions.Exit(code) from None
