"""Bodies of messages, as kombu reads them."""

from __future__ import annotations

import importlib
from typing import Any, cast

__all__ = ["decoded", "serializer_of"]

_serialization: Any = importlib.import_module("kombu.serialization")


def serializer_of(content_type: str | None) -> str | None:
    """The name under which kombu knows the serializer of a content type."""
    return cast("str | None", _serialization.registry.type_to_name.get(content_type or ""))


def decoded(app: Any, body: str | bytes, content_type: str, encoding: str) -> Any:
    """The body of a message, where the app takes its content type."""
    accept = _serialization.prepare_accept_content(app.conf.accept_content)
    return _serialization.loads(body, content_type, encoding, accept=accept)
