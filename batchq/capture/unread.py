"""Answers that a run has left unread: which they are, and whether its requests have changed.

A call without an equal among the answers is a new question, or an old one in other words; while the
body runs nobody can tell, for calls side by side come in any order. At its end it shows: the run
asked something new at a place in the code whose last answers nobody has read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from batchq.journal import Entry
from batchq.prompt import Prompt

__all__ = ["Changed", "changed", "skipped"]


@dataclass(frozen=True, slots=True)
class Changed:
    """A question, the last one asked before at the same place, whose answer is left unread, and in
    how many rounds on end that place has left all of its answers unread.
    """

    asked: Prompt
    before: Entry
    rounds: int


def changed(
    asked: Sequence[Prompt], answered: Iterable[Entry], read: frozenset[int]
) -> list[Changed]:
    """The places at which a run asked something new and has left the last answers unread."""
    known = list(answered)
    first: dict[tuple[str, str, str], Prompt] = {}
    for prompt in asked:
        first.setdefault((prompt.lane.endpoint, prompt.lane.model, prompt.site), prompt)
    found: list[Changed] = []
    for place, prompt in first.items():
        here = [one for one in known if (one.endpoint, one.model, one.site) == place]
        rounds = sum(1 for _ in _unread_rounds(here, read))
        if rounds:
            last = max(one.round for one in here)
            found.append(Changed(prompt, next(e for e in here if e.round == last), rounds))
    return found


def _unread_rounds(entries: Sequence[Entry], read: frozenset[int]) -> Iterator[int]:
    """The last rounds of these, back to the first of which an answer was read."""
    for number in sorted({entry.round for entry in entries}, reverse=True):
        if any(entry.number in read for entry in entries if entry.round == number):
            return
        yield number


def skipped(entries: Sequence[Entry], read: frozenset[int]) -> list[Entry]:
    """The answers that were paid for, and that no run of their task has read.

    Without those that a changed request has overtaken at their place: that was told when it was
    asked.
    """
    unread = [entry for entry in entries if entry.number not in read and not entry.went_live]
    later = {(entry.site, entry.round) for entry in entries if entry.number in read}
    return [
        entry
        for entry in unread
        if not any(site == entry.site and number > entry.round for site, number in later)
    ]
