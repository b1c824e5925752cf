"""What the demo shows while it waits: where every prompt is."""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

#: Seconds between two lines where there is no terminal.
EVERY = 2


@dataclass(frozen=True, kw_only=True)
class Numbers:
    waiting: int
    batched: int
    batches: int
    answered: int
    resolved: int
    tasks: int
    prompts: int


class Display:
    """Bars in a terminal; elsewhere a line every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._printed = float("-inf")
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, numbers: Numbers, *, last: bool = False) -> None:
        seconds = time.monotonic() - self._started
        if self._live is not None:
            self._live.update(picture(numbers, seconds), refresh=True)
        elif last or seconds - self._printed >= EVERY:
            self._printed = seconds
            self._console.print(sentence(numbers, seconds))


def picture(numbers: Numbers, seconds: float) -> Table:
    table = Table.grid(padding=(0, 2))
    rows = [
        ("prompts waiting in lanes", numbers.waiting, numbers.prompts, "yellow"),
        (f"prompts in {numbers.batches} batches", numbers.batched, numbers.prompts, "cyan"),
        ("prompts answered", numbers.answered, numbers.prompts, "blue"),
        ("tasks resolved", numbers.resolved, numbers.tasks, "green"),
    ]
    for name, value, total, style in rows:
        bar = ProgressBar(
            total=max(total, 1),
            completed=value,
            width=40,
            complete_style=style,
            finished_style=style,
        )
        table.add_row(name, bar, f"{value:,}")
    table.add_row("", f"[dim]{seconds:.0f} s[/dim]", "")
    return table


def sentence(numbers: Numbers, seconds: float) -> str:
    return (
        f"{seconds:3.0f} s  waiting {numbers.waiting:,}  "
        f"in {numbers.batches} batches {numbers.batched:,}  "
        f"answered {numbers.answered:,}  resolved {numbers.resolved:,} of {numbers.tasks:,}"
    )
