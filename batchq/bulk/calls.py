"""What is to be called: rows and signatures as calls, each with the id of its task."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

from celery.canvas import Signature

__all__ = [
    "Call",
    "Key",
    "calls_of_rows",
    "calls_of_signatures",
    "fresh_ids",
    "id_of_key",
    "ignores_result",
    "runs",
]

Key = Callable[[Any], object]


@dataclass(slots=True)
class Call:
    """One call of a task. ``repeats`` is true where a second start gives it the same id."""

    task: Any
    args: Any
    kwargs: Mapping[str, Any]
    options: Mapping[str, Any]
    task_id: str
    repeats: bool


def calls_of_rows(
    task: Any, rows: Iterable[Any], key: Key | None, options: Mapping[str, Any]
) -> Iterator[Call]:
    """A call for each row: a tuple is its positional arguments, all else its one argument."""
    ids = fresh_ids()
    for row in rows:
        task_id = next(ids) if key is None else id_of_key(task.name, key(row), row)
        yield Call(task, _arguments(row), {}, options, task_id, key is not None)


def _arguments(row: Any) -> Any:
    # Not isinstance, by which a type checker would know of a tuple of nothing known.
    return row if issubclass(type(row), tuple) else (row,)


def calls_of_signatures(
    app: Any, signatures: Iterable[Any], key: Key | None, options: Mapping[str, Any]
) -> Iterator[Call]:
    """A call for each signature, as its ``apply_async(**options)`` would make it."""
    ids = fresh_ids()
    for given in signatures:
        signature = _single(given, app)
        own = {**signature.options, **options}
        task_id = own.pop("task_id", None)
        repeats = key is not None or task_id is not None
        if key is not None:
            task_id = id_of_key(signature.task, key(given), given)
        task_id = next(ids) if task_id is None else task_id
        yield Call(signature.type, signature.args, signature.kwargs, own, task_id, repeats)


def ignores_result(call: Call) -> bool:
    """Whether nobody will find a result of it, by the task or by the call."""
    return bool(call.options.get("ignore_result", call.task.ignore_result))


def runs(calls: Iterable[Call]) -> Iterator[list[Call]]:
    """Calls that follow one another and differ in nothing but their ids and arguments."""
    for _, alike in groupby(calls, lambda call: (call.task.name, call.options)):
        yield list(alike)


def _single(given: Any, app: Any) -> Any:
    kind: Any = cast("Any", type)(given)
    if not issubclass(kind, dict):
        raise TypeError(f"enqueue takes signatures, as classify.s(42), not {given!r}")
    made: Any = Signature
    # One that came as JSON is a dict, and has no app.
    signature = given if issubclass(kind, made) else made.from_dict(given, app=app)
    if signature.get("subtask_type") is not None:
        # Its members would be made at once, all of them, and a chord counts them first.
        raise TypeError(
            f"enqueue takes signatures of single tasks, not a {signature['subtask_type']}: "
            "send that by its own apply_async"
        )
    if signature.app is not app:
        raise ValueError(f"{signature.task} is a task of another app than those before it")
    return signature


# Ids


_NAMESPACE = uuid.UUID("5f0c2c1e-6f0b-5f57-9a5e-0d9b6f2f4c11").bytes


def id_of_key(name: str, key: object, row: object) -> str:
    """The id that a task has wherever and whenever it is enqueued under this key: a UUID5."""
    if key is None:
        raise ValueError(f"key= gave None for {row!r}: rows without one would be taken for one")
    return _uuid(hashlib.sha1(_NAMESPACE + f"{name}:{key}".encode()).hexdigest(), "5")  # noqa: S324


def fresh_ids() -> Iterator[str]:
    """UUID4s, for a third of what the `uuid` module takes, which asks the system for each."""
    while True:
        some = os.urandom(16 * _SOME).hex()
        for at in range(0, len(some), 32):
            yield _uuid(some[at : at + 32], "4")


_SOME = 256


def _uuid(digits: str, version: str) -> str:
    variant = "89ab"[int(digits[16], 16) & 3]
    return (
        f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-"
        f"{variant}{digits[17:20]}-{digits[20:32]}"
    )
