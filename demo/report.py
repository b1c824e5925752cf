"""The end of the demo: some answers to read, and the bill."""

from collections import Counter
from itertools import combinations
from math import dist
from typing import Any

from rich.console import Console
from rich.markup import escape

from demo.texts import Section
from demo.work import Work, ledger


def show(console: Console, work: Work, *, seconds: float) -> None:
    results(console, work)
    bill(console, work, ledger(), seconds=seconds)


def results(console: Console, work: Work) -> None:
    labels, summaries, vectors = work.answers()
    console.print(f"\n[bold]{len(labels):,} paragraphs, classified[/bold]")
    counts = Counter(labels).most_common()
    console.print("  " + ", ".join(f"{label} {count:,}" for label, count in counts))
    console.print(f"[bold]{len(summaries):,} summaries[/bold] (each from two calls), such as")
    for section, summary in list(zip(work.sections, summaries, strict=True))[:3]:
        console.print(f"  [cyan]{escape(section.title)}[/cyan]: {escape(shortened(summary))}")
    if len(work.sections) > 1:
        one, other = closest(work.sections, vectors)
        console.print(
            f"[bold]embeddings[/bold] put [cyan]{escape(one)}[/cyan] and "
            f"[cyan]{escape(other)}[/cyan] next to each other"
        )


def bill(console: Console, work: Work, ledger: dict[str, Any], *, seconds: float) -> None:
    batch = ledger["totals"]["batch"]
    console.print(
        f"\n{work.tasks:,} tasks asked {batch['ok']:,} prompts in {ledger['batches_created']} "
        f"batches; all resolved after {seconds:.0f} s"
    )
    console.print(
        f"cost in batches [bold green]${batch['cost_usd']:.4f}[/bold green], "
        f"called live ${batch['live_usd']:.4f}; paid for twice: {len(ledger['duplicates'])}"
    )


def closest(sections: list[Section], vectors: list[list[list[float]]]) -> tuple[str, str]:
    """The two sections whose middles lie nearest to each other."""
    middles = [
        (section.title, [sum(axis) / len(axis) for axis in zip(*points, strict=True)])
        for section, points in zip(sections, vectors, strict=True)
    ]
    (one, _), (other, _) = min(combinations(middles, 2), key=lambda two: dist(two[0][1], two[1][1]))
    return one, other


def shortened(text: str, *, to: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= to else f"{text[:to]}..."
