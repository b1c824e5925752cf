"""Finding what an id belongs to: a task, a prompt, or a batch by our id or the provider's."""

from __future__ import annotations

from dataclasses import dataclass

from batchq.errors import NotFound
from batchq.journal import BatchRecord, CallRecord, Journal, TaskRecord
from batchq.prompt import split_id

__all__ = ["Prompt", "batch_named", "find"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One call of a task, by its custom id."""

    custom_id: str
    task: TaskRecord
    call: CallRecord


def find(journal: Journal, name: str) -> BatchRecord | TaskRecord | Prompt:
    """What an id belongs to. Raises NotFound."""
    found = (
        journal.batches.get(name)
        or journal.views.task(name)
        or _prompt(journal, name)
        or _of_provider(journal, name)
    )
    if found is None:
        raise NotFound("task, prompt or batch", name)
    return found


def batch_named(journal: Journal, name: str) -> BatchRecord:
    """A batch by our id or the provider's. Raises NotFound."""
    found = journal.batches.get(name) or _of_provider(journal, name)
    if found is None:
        raise NotFound("batch", name)
    return found


def _of_provider(journal: Journal, provider_id: str) -> BatchRecord | None:
    ours = journal.webhooks.of_provider(provider_id)
    return None if ours is None else journal.batches.get(ours)


def _prompt(journal: Journal, custom_id: str) -> Prompt | None:
    parts = split_id(custom_id)
    task = None if parts is None else journal.views.task(parts[0])
    if parts is None or task is None:
        return None
    call = next((one for one in task.calls if one.number == parts[1]), None)
    return None if call is None else Prompt(custom_id=custom_id, task=task, call=call)
