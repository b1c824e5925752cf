"""The table of a run, and whether all that is promised was kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tests.chaos import check, work
from tests.chaos.books import cut_off, orphans, percentile, repeats, standstills, times_to_resolve
from tests.chaos.check import Bill, Finding, Scene
from tests.chaos.run import KEY, Chaos
from tests.faults.report import Table
from tests.faults.report import write as write_table

_SHOWN = 20
"""How many of the tasks that break an invariant are named."""


@dataclass(frozen=True)
class Outcome:
    """What a run has found."""

    findings: tuple[Finding, ...]
    table: Table

    @property
    def broken(self) -> bool:
        return not all(finding.holds for finding in self.findings)

    def text(self) -> str:
        lines = ["", self.table.text()]
        for finding in self.findings:
            if not finding.holds:
                lines.append(f"BROKEN: {finding.invariant}: {len(finding.broken)}")
                lines += [f"  {one}" for one in finding.broken[:_SHOWN]]
        return "\n".join(lines)

    def write(self) -> None:
        write_table(self.table)


def report(chaos: Chaos, *, seconds: float) -> Outcome:
    scene = _scene(chaos)
    scene.read_results()
    disturbances = chaos.fleet.disturbances
    plain = {number for number, item in chaos.items.items() if item.kind == "collect"}
    repeated = repeats(scene.books, disturbances, plain=plain)
    bill = check.bill(scene)
    broken_off = check.broken_off(scene, disturbances)
    cut = cut_off(scene.books, disturbances)
    effects = check.effects(scene, cut={*cut, *broken_off, *plain})
    findings = (
        check.lost(scene),
        check.wrong(scene, broken_off=broken_off),
        Finding("resolved twice by Batchq", tuple(f"task {n}" for n in repeated.twice)),
        Finding("hook not run once though nothing cut its task off", effects.odd),
        Finding("seal without exactly one adopted batch", bill.unadopted),
        Finding("line run twice without an extra batch", bill.unexplained),
        Finding("line that nobody needed, or that never ran", bill.unasked),
        check.left(scene),
        check.secrets_told(scene),
    )
    rows: list[tuple[object, object]] = [
        *((finding.invariant, len(finding.broken)) for finding in findings),
        *_celery_rows(chaos, repeated.cut, broken_off, effects.counts),
        *_provider_rows(bill, scene),
        *_time_rows(chaos),
    ]
    return Outcome(findings, _table(chaos, rows, seconds))


def _scene(chaos: Chaos) -> Scene:
    seed = chaos.options.seed
    expected = {n: r for unit in chaos.units for n, r in work.expected(seed, unit).items()}
    return Scene(
        app=chaos.app,
        seed=seed,
        items=chaos.items,
        expected=expected,
        books=chaos.books,
        ledger=check.ledger(chaos.provider_url),
        files=check.files(chaos.provider_url, KEY),
        logs=sorted(chaos.directory.glob("*.log")),
        secrets=(KEY, f"{work.CANARY}{seed}x"),
    )


def _celery_rows(
    chaos: Chaos,
    cut: Sequence[int],
    broken_off: Collection[int],
    effects: Counter[str],
) -> list[tuple[object, object]]:
    again = chaos.sent_again
    return [
        ("Celery: messages lost before capture, sent again", len(again["first message"])),
        ("Celery: retries lost, sent again", len(again["retry"])),
        ("Celery: chord parts or bodies lost, sent again", len(again["chord"])),
        ("Celery: runs cut off after the answer, and run again", len(cut)),
        ("Celery: failed because Redis was away for their result", len(broken_off)),
        ("Celery: hooks of those, and links of any, not run exactly once", _counted(effects)),
    ]


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "0"


def _provider_rows(bill: Bill, scene: Scene) -> list[tuple[object, object]]:
    cancelled = sum(": cancel" in one for one in bill.extra)
    return [
        ("batches", bill.batches),
        ("batches created once too often", f"{len(bill.extra)}, {cancelled} of them cancelled"),
        ("lines paid for twice", len(bill.again)),
        ("uploads; files left to expire", f"{scene.ledger['uploads']}; {scene.files}"),
    ]


def _time_rows(chaos: Chaos) -> list[tuple[object, object]]:
    waits = orphans(chaos.books, chaos.fleet.disturbances)
    took = times_to_resolve(chaos.books)
    grown = chaos.memory.growth(least=60.0)
    rows: list[tuple[object, object]] = [
        ("from a kill to the next run of what it cut off", f"{len(waits)} runs, {_spread(waits)}"),
        ("from send to result", _spread(took)),
        ("memory of the worker process that grew most", "-" if grown is None else _growth(*grown)),
    ]
    for name, (count, worst) in sorted(standstills(chaos.books, chaos.fleet.disturbances).items()):
        rows.append((f"{name}: how often, worst time to progress", f"{count}, {worst:.1f} s"))
    return rows


def _spread(seconds: Sequence[float]) -> str:
    p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
    return f"p50 {p50:.1f} s, p99 {p99:.1f} s, worst {max(seconds, default=0):.1f} s"


def _growth(before: int, after: int) -> str:
    return f"{before / 1024:.0f} MB → {after / 1024:.0f} MB ({after / before - 1:+.0%})"


def _table(chaos: Chaos, rows: Sequence[tuple[object, object]], seconds: float) -> Table:
    options, fleet = chaos.options, chaos.fleet
    exits = {ward.name: ward.exits for ward in fleet.wards if ward.exits}
    minutes = f"{int(seconds) // 60}:{int(seconds) % 60:02}"
    return Table(
        name="chaos",
        command=f"make chaos TASKS={options.tasks} SEED={options.seed}",
        seed=options.seed,
        summary=(
            f"{options.tasks:,} tasks in {minutes} minutes, {len(fleet.disturbances)} kills and "
            f"pauses, {options.workers} workers, {options.beats} beats."
        ),
        head=("what", "figure"),
        rows=rows,
        remarks=[
            f"{len(fleet.skipped)} decisions found nobody to kill.",
            f"Processes that ended by themselves and were started again: {_exits(exits)}.",
        ],
    )


def _exits(exits: dict[str, list[int]]) -> str:
    return (
        ", ".join(f"{name} ({', '.join(map(str, codes))})" for name, codes in exits.items())
        or "none"
    )
