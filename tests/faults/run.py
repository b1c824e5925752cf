"""Benches side by side, each in a process of its own, and the table of what they found."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import Empty
from typing import Any

from tests.faults.catalogue import Case, ProviderCase, Verdict
from tests.faults.report import Table
from tests.harness import ReservedPort, talk_to

__all__ = ["ends", "play", "table"]


def play(cases: Sequence[Case | ProviderCase], jobs: int, folder: Path) -> Iterator[Verdict]:
    """Play all cases, in this order; their logs are left in the folder."""
    context = multiprocessing.get_context("spawn")
    todo, done = context.Queue(), context.Queue()
    for case in cases:
        todo.put(case)
    benches = [
        context.Process(target=_bench, args=(todo, done, folder / f"bench{number}"))
        for number in range(min(jobs, len(cases)))
    ]
    for bench in benches:
        bench.start()
        todo.put(None)
    try:
        for _ in cases:
            yield _next(done, benches)
    except BaseException:
        for bench in benches:
            bench.terminate()
        raise
    finally:
        for bench in benches:
            bench.join()


def ends(*_: object) -> None:
    """End in order, and with it all that was started."""
    sys.exit(1)


def _next(done: Any, benches: list[Any]) -> Verdict:
    while True:
        try:
            verdict: Verdict = done.get(timeout=5)
        except Empty:
            if not any(bench.is_alive() for bench in benches):
                raise SystemExit("every bench has ended before its cases") from None
        else:
            return verdict


def _bench(todo: Any, done: Any, directory: Path) -> None:
    """A process with a bench of its own, that plays cases until there are none."""
    signal.signal(signal.SIGTERM, ends)
    directory.mkdir()
    redis_port, emulator_port = ReservedPort(), ReservedPort()
    talk_to(redis_port, emulator_port)
    # Here, where the app can read its addresses.
    from tests.faults.bench import a_bench

    with a_bench(redis_port, emulator_port, directory) as bench:
        while (case := todo.get()) is not None:
            done.put(bench.play(case))


def table(verdicts: Sequence[Verdict], seed: int, seconds: float) -> Table:
    groups: dict[str, list[Verdict]] = {}
    for verdict in sorted(verdicts, key=lambda one: one.case.group):
        groups.setdefault(verdict.case.group, []).append(verdict)
    groups["all"] = list(verdicts)
    rows = [
        (
            name,
            len(some),
            sum(one.fired for one in some),
            sum(one.lost for one in some),
            sum(one.by_celery for one in some),
            sum(one.twice for one in some),
            sum(one.wrong_answers for one in some),
            sum(one.extra for one in some),
            f"{max(one.recovery for one in some):.1f} s",
        )
        for name, some in groups.items()
    ]
    bad = [verdict for verdict in verdicts if not verdict.good]
    return Table(
        name="faults",
        command="make faults",
        summary=f"{len(verdicts)} cases in {seconds / 60:.0f} min, "
        f"{len(verdicts) - len(bad)} as they should be.",
        head=(
            *("who", "cases", "fired", "lost", "failed by Celery", "ended twice", "wrong answers"),
            *("extra batches", "slowest to recover"),
        ),
        rows=rows,
        seed=seed,
        remarks=[f"not as it should be: {one.case.name}: {'; '.join(one.wrong)}" for one in bad],
    )
