"""Errors of ours that are raised at a call are the SDK's own errors as well."""

from __future__ import annotations

from typing import Any

from batchq.errors import BatchqError

__all__ = ["as_openai_error"]


def as_openai_error(error: BatchqError) -> BatchqError:
    """The same error, in a class that is also the SDK's own.

    SDK 2.x retries any other Exception from the HTTP client and hides it in an
    APIConnectionError; both let an OpenAIError through untouched.
    """
    return _openai_twin(type(error))(*error.args)


_twins: dict[type[BatchqError], type[BatchqError]] = {}


def _openai_twin(kind: type[BatchqError]) -> type[BatchqError]:
    if kind not in _twins:
        _twins[kind] = _make_twin(kind)
    return _twins[kind]


def _make_twin(kind: type[BatchqError]) -> type[BatchqError]:
    from openai import OpenAIError

    def __reduce__(self: BatchqError) -> tuple[type[BatchqError], tuple[Any, ...]]:  # noqa: N807
        return kind, self.args

    names = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    return type(kind.__name__, (kind, OpenAIError), {**names, "__reduce__": __reduce__})
