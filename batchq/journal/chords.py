"""What hangs on a task that waits: its chords, its stamps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from batchq.journal.replies import (
    milliseconds,
)
from batchq.journal.runs import Runs
from batchq.journal.store import Store

__all__ = ["Chords"]


class Chords:
    """The groups and stamps of tasks that wait."""

    def __init__(self, store: Store, runs: Runs) -> None:
        self._store = store
        self._redis = store.redis
        self._key = store.key
        self._runs = runs

    def tie(
        self, task_id: str, *, token: str, groups: Sequence[str], stamps: Mapping[str, Any]
    ) -> str:
        """Write down which groups wait for a task, and its stamps, to find them without reading
        its message.
        """
        fields: dict[str, Any] = {}
        if groups:
            fields["groups"] = json.dumps(groups)
        if stamps:
            fields["stamps"] = self._store.codec.seal(json.dumps(stamps).encode())
        return self._runs.note(task_id, token, fields)

    def groups(self, task_ids: Sequence[str]) -> set[str]:
        """The groups that wait for these tasks."""
        keys = [self._store.task_key(task_id) for task_id in task_ids]
        found: list[bytes] = self._store.run("groups", keys, ()) if keys else []
        return {str(group) for groups in found for group in json.loads(groups)}

    def kept_now(self, groups: Sequence[str], *, for_: timedelta) -> list[str]:
        """Those of these groups that nobody has kept for that long; the caller does now."""
        pipe = self._redis.pipeline(transaction=False)
        for group in groups:
            pipe.set(self._key("kept", group), 1, nx=True, px=max(1, milliseconds(for_)))
        first = pipe.execute()
        return [group for group, was_set in zip(groups, first, strict=True) if was_set]
