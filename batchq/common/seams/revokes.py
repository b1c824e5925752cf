"""Revokes and signals: what a worker's main process is told, and tells its pool."""

from __future__ import annotations

import functools
import importlib
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

__all__ = ["SOFT_LIMIT_SIGNAL", "intercept_revokes", "listed"]

SOFT_LIMIT_SIGNAL: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""With it a worker tells a process of its pool that a soft time limit is met."""

Commanded = Callable[[Any, set[str], str], set[str]]
CommandedByStamps = Callable[[Any, Mapping[str, list[str]], str], None]


def intercept_revokes(by_id: Commanded, by_stamps: CommandedByStamps) -> None:
    """Let a worker's main process ask first, when it is told to revoke.

    ``by_id`` gets the app, the ids and the worker's name, and returns the ids that Celery is to
    leave alone; ``by_stamps`` is called beside Celery's own command.
    """
    control: Any = importlib.import_module("celery.worker.control")
    celerys, celerys_by_stamps = control._revoke, control.Panel.data["revoke_by_stamped_headers"]
    if hasattr(celerys, "__wrapped__"):
        return

    @functools.wraps(celerys)
    def revoke(state: Any, task_ids: Any, *how: Any, **more: Any) -> Any:
        taken = by_id(state.app, set(task_ids), state.hostname)
        reply: Any = celerys(state, set(task_ids) - taken, *how, **more)
        # A dict is the answer to a terminate.
        return cast("Any", reply) if isinstance(reply, dict) else {*reply, *taken}

    @functools.wraps(celerys_by_stamps)
    def revoke_by_stamped_headers(state: Any, headers: Any, *args: Any, **kwargs: Any) -> Any:
        reply = celerys_by_stamps(state, headers, *args, **kwargs)
        if isinstance(headers, list):
            pairs: Any = cast("Any", headers)
            headers = {str(p).partition("=")[0]: str(p).partition("=")[2] for p in pairs}
        stamps = {name: listed(values) for name, values in headers.items()}
        by_stamps(state.app, stamps, state.hostname)
        return reply

    control._revoke = revoke
    control.Panel.data["revoke_by_stamped_headers"] = revoke_by_stamped_headers


def listed(values: Any) -> list[Any]:
    """Celery takes one, several or None in many places."""
    if values is None:
        return []
    several = isinstance(values, (list, tuple, set, frozenset))
    return list(cast("Iterable[Any]", values)) if several else [values]
