"""Whether Redis has room for another day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from batchq.common.words import many, span
from batchq.observe.diagnosis.finding import Finding, warning

if TYPE_CHECKING:
    from batchq.journal import Sample
    from batchq.observe.diagnosis.seen import Seen
    from batchq.observe.reading import Reading

__all__ = ["full_after", "memory"]

_DAY = timedelta(days=1)
_PACE_NEEDS = timedelta(minutes=10)
_BESIDE_A_PROMPT = 2_500
"""Bytes of Redis that a waiting prompt takes beside its request (benchmarks/README.md)."""

_LARGE_SHARE = 0.1
_UNKNOWN_LIMIT = 10**9


def memory(seen: Seen) -> Iterator[Finding]:
    if seen.facts is None or seen.reading is None:
        return
    info = seen.facts.info
    used, most = (_whole(info.get(name)) for name in ("used_memory", "maxmemory"))
    limit = most or _whole(info.get("total_system_memory"))
    left = full_after(seen.samples, used=used, limit=limit, each=_size_of_one(seen.reading))
    if left is not None and left < _DAY:
        which = "maxmemory" if most else "the memory of its machine"
        what = f"at the pace of the last hours, {which} ({limit:,} bytes) is full in {span(left)}"
        yield warning(what, "raise maxmemory, flush more often, or hold back who asks")
    if seen.settings.large_bodies is None:
        yield from _large_bodies(seen.reading, limit)


def _large_bodies(reading: Reading, limit: int) -> Iterator[Finding]:
    """Where requests are images, a few hundred of them fill a Redis."""
    large = [(n, size) for n, size in _out(reading) if size > n * reading.config.large_body_bytes]
    count, size = (sum(part) for part in zip(*large, strict=True)) if large else (0, 0)
    if size > _LARGE_SHARE * (limit or _UNKNOWN_LIMIT):
        what = (
            f"the requests of {many(count, 'prompt')} that wait have {size:,} bytes, and Redis "
            f"keeps them{f', with {limit:,} bytes for all' if limit else ''}"
        )
        do = "keep large ones outside of it (batchq_large_bodies), or flush by batchq_flush_bytes"
        yield warning(what, do)


def _out(reading: Reading) -> list[tuple[int, int]]:
    """Prompts and bytes of each lane and each open batch."""
    waiting = [(one.prompts, one.bytes) for one in reading.lanes]
    return waiting + [(one.lines, one.bytes) for one in reading.batches]


def _size_of_one(reading: Reading) -> int:
    """Bytes of Redis that a waiting prompt takes, at the most: its request is compressed."""
    prompts, size = (sum(part) for part in zip((0, 0), *_out(reading), strict=True))
    each = size // prompts if prompts else 0
    inside = reading.config.large_bodies is None
    return _BESIDE_A_PROMPT + (each if inside else min(each, reading.config.large_body_bytes))


def full_after(
    samples: tuple[Sample, ...], *, used: int, limit: int, each: int
) -> timedelta | None:
    """How long until Redis is full, where as many prompts more wait each hour as did lately.

    None where they do not get more, or nobody knows.
    """
    if len(samples) < 2 or not limit:
        return None
    first, last = samples[0], samples[-1]
    passed = timedelta(milliseconds=last.at - first.at)
    grown = (last.waiting + last.batched) - (first.waiting + first.batched)
    if passed < _PACE_NEEDS or grown <= 0:
        return None
    return passed * (max(0, limit - used) / (grown * each))


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
