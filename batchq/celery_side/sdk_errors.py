"""The SDK's errors as results: whoever waits gets the class that the task raised, with its parts.

They are built from requests and responses, so Celery could store only the nearest class it can
build from text, a bare OpenAIError. What is stored has no request and no response, and no more of
what the provider said than the message of the error has.
"""

from __future__ import annotations

import copyreg
import sys
from typing import Any, cast

from batchq.common.seams.results import store_errors_by

__all__ = ["keep_sdk_errors"]


def keep_sdk_errors() -> None:
    """Let the SDK's errors be stored and sent whole, in this process. It is not imported for it."""
    store_errors_by(_described)
    for kind in list(vars(sys.modules.get("openai", copyreg)).values()):
        if _is_of_sdk(kind) and kind not in copyreg.dispatch_table:
            copyreg.pickle(kind, _reduced)


def _is_of_sdk(kind: Any) -> bool:
    sdk: Any = sys.modules.get("openai")
    # Some of what is there would make a client, to answer isinstance().
    is_class = issubclass(cast("Any", type)(kind), type)
    return is_class and sdk is not None and issubclass(kind, sdk.OpenAIError)


def _reduced(error: Any) -> tuple[Any, ...]:
    """As pickle wants it. Whoever reads it needs the SDK, and nothing of ours."""
    return vars(copyreg)["__newobj__"], (type(error), *error.args), _parts(error)


def _described(error: BaseException) -> tuple[str, str, tuple[object, ...]] | None:
    """As Celery stores an error as text: its module, its class and what that is called with."""
    kind = type(error)
    if not _is_of_sdk(kind) or getattr(sys.modules["openai"], kind.__name__, None) is not kind:
        return None
    return __name__, kind.__name__, (*error.args, _parts(error))


def __getattr__(name: str) -> Any:
    """The class of that name, to be called with what is stored."""
    if name.startswith("_"):
        raise AttributeError(name)  # Asked for by each import of this module.
    import openai

    kind = getattr(openai, name, None)
    if not _is_of_sdk(kind):
        raise AttributeError(name)

    def __new__(_: type[Any], *args: Any) -> Any:  # noqa: N807
        return _revived(cast("type[BaseException]", kind), *args)

    return type(name, (cast("type[Any]", kind),), {"__new__": __new__, "__module__": __name__})


def _revived(kind: type[BaseException], *args: Any) -> BaseException:
    *message, parts = args
    error = kind.__new__(kind, *message)
    error.__setstate__(parts)
    return error


# What there is to know of one


def _parts(error: BaseException) -> dict[str, Any]:
    """Its attributes, as far as they are plain; the others are None."""
    message = str(error)
    parts = {name: _plain(value) for name, value in vars(error).items() if name[:2] != "__"}
    if "body" in parts:
        parts["body"] = _repeated(getattr(error, "body", None), message)
    return parts


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float)) else None


def _repeated(body: object, message: str) -> object:
    """Of a body what the message says as well: there may be an answer in it."""
    if str(body) in message:
        return body
    if not isinstance(body, dict):
        return None
    said: dict[str, Any] = body  # pyright: ignore[reportUnknownVariableType]
    return {name: said[name] for name in said if name in _CODES or str(said[name]) in message}


_CODES = frozenset({"code", "param", "type"})
