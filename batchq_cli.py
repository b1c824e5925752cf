"""`celery -A app batchq …`: the one module that Celery imports for it at each of its starts.

It stands beside the package and not in it: to import anything of `batchq` is to import all of its
settings, which takes 0.2 s, and every other command of Celery would wait for that.
"""

from __future__ import annotations

import difflib
import importlib
from typing import cast

import click

__all__ = ["COMMANDS", "Commands", "batchq"]

COMMANDS = (
    *("status", "lanes", "batches", "show", "tail", "dead"),
    *("flush", "hold", "release", "cancel", "retry"),
    *("check", "validate", "estimate", "savings", "webhook"),
)


class Commands(click.Group):
    """Each command is a module of `batchq.commands`, imported when somebody asks for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """What there is to see comes first, then what to do, then what to find out."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"batchq.commands.{cmd_name}")
        return cast("click.Command", getattr(module, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not close:
                raise
            raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from None


@click.group(cls=Commands, short_help="See where every prompt is, what it costs, and act.")
def batchq() -> None:
    """See where every prompt is, what it costs and what is stuck, and act.

    Tables for people, `--json` for programs. Exit codes: 0 it is well, or done; 1 a problem was
    found, or something was not done; 2 the command or the app's settings are wrong; 3 Redis or the
    broker is away.
    """
