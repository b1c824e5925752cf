"""`validate`: would the provider take this batch file?"""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import Any

import click

from batchq.commands.batchfile import BatchFile, Problem
from batchq.commands.lines import lines_of
from batchq.commands.terminal import Exit, Terminal, command
from batchq.common.words import many
from batchq.settings.refusals import REFUSALS

__all__ = ["validate"]

_MOST = 100


@command(needs="nothing")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--azure", is_flag=True, help="Take URLs without /v1, as Azure does.")
@click.option(
    "--without",
    multiple=True,
    type=click.Choice([refusal.name for refusal in REFUSALS]),
    help="Take what this known refusal is about. May be given several times.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=_MOST,
    show_default=True,
    help="How many problems are listed; 0: all.",
)
def validate(to: Terminal, file: str, *, azure: bool, without: tuple[str, ...], limit: int) -> Exit:
    """Would the provider take this batch FILE?

    Reads every line (- is stdin), and says what is wrong, with line numbers. No app, Redis or
    provider is needed. Ends with 1 where something is wrong. The text of a prompt is not
    repeated.
    """
    seen = BatchFile(azure=azure, off=frozenset(without))
    with lines_of(to, file) as lines:
        problems = seen.problems(lines)
        found = [*_of_name(file), *islice(problems, limit or None)]
        left_out = sum(1 for _ in problems)
    if to.as_json:
        to.give(_shape(file, seen, found, left_out))
    else:
        _tell(to, file, seen, found, left_out)
    return Exit.PROBLEM if found else Exit.FINE


def _of_name(file: str) -> list[Problem]:
    if file == "-" or file.endswith(".jsonl"):
        return []
    what = "the name of the file has to end in .jsonl"
    return [Problem(line=0, code="invalid_file_format", param="file", what=what)]


def _tell(to: Terminal, file: str, seen: BatchFile, found: list[Problem], left_out: int) -> None:
    if found:
        rows = (
            [one.line or "file", one.code, one.param, "all" if one.fails_all else "it", one.what]
            for one in found
        )
        to.show([">LINE", "CODE", "PARAM", "FAILS", "WHAT IS WRONG"], rows)
        to.say()
    if left_out:
        to.note(f"not listed: {many(left_out, 'problem')} more; --limit 0 lists all")
    verdict = many(len(found) + left_out, "problem") if found else "nothing is wrong"
    to.say(f"{file}: {many(seen.lines, 'line')}, {seen.size:,} bytes, {verdict}")
    if seen.lines and seen.model:
        to.say(f"{seen.endpoint}, {seen.model}, about {seen.tokens:,} input tokens")


def _shape(file: str, seen: BatchFile, found: list[Problem], left_out: int) -> dict[str, Any]:
    return {
        "file": file,
        "lines": seen.lines,
        "bytes": seen.size,
        "tokens": seen.tokens,
        "endpoint": seen.endpoint or None,
        "model": seen.model or None,
        "problems": [
            asdict(one) | {"line": one.line or None, "param": one.param or None} for one in found
        ],
        "left_out": left_out,
    }
