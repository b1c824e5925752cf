"""Where hooks sit: on a method of a class, or a function of a module, once each."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

__all__ = ["seat", "when_imported"]


Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def seat(owner: Any, name: str, wrap: Wrap, *, mark: str = "__batchq__") -> None:
    """Put what ``wrap`` makes of ``owner.name`` in its place, if it is not there already.

    What sits on one that is taken has a mark of its own.
    """
    held = getattr(owner, name)
    if not hasattr(held, mark):
        hooked = functools.wraps(held)(wrap(held))
        vars(hooked)[mark] = True
        setattr(owner, name, hooked)


def when_imported(name: str, then: Callable[[ModuleType], None]) -> None:
    """Call ``then`` with the module: now, or as soon as somebody imports it.

    A large library is not loaded for the sake of a hook, and one that a body loads in its midst is
    hooked all the same.
    """
    if name in sys.modules:
        then(sys.modules[name])
    elif not any(isinstance(one, _Watch) and one.name == name for one in sys.meta_path):
        sys.meta_path.insert(0, _Watch(name, then))


class _Watch(MetaPathFinder):
    """Leaves the finding to the others, and is there when the module has been loaded."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self.name = name
        self._then = then

    def find_spec(self, name: str, *_: Any) -> Any:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_tell(module: ModuleType) -> None:
                load(module)
                self._then(module)

            vars(spec.loader)["exec_module"] = load_and_tell
        return spec
