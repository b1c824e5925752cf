"""Where the decorator stands: under ``@app.task``, above it, on a task class, or alone.

The app stays lazy: nothing here evaluates a proxy or finalizes an app before it is used.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any, cast

from celery import Task
from celery._state import connect_on_app_finalize, get_current_app
from celery.local import PromiseProxy, Proxy, maybe_evaluate

from batchq.common.seams.tasks import (
    active_apps,
    pending_tasks,
    registered_tasks,
    task_from_function,
)

__all__ = [
    "MARK",
    "claim_shared",
    "claim_shared_when_ready",
    "claimable",
    "is_batched",
    "is_body_of",
    "wrap_task",
]

Batched = Callable[[Callable[..., Any]], Callable[..., Any]]


MARK = "batchq_body"
"""The attribute by which a body of the decorator's is known."""


def is_body_of(task: Any, wrapper: Callable[..., Any]) -> bool:
    """True where Celery runs ``wrapper`` for ``task``, directly or through its own wrappers."""
    return any(body is wrapper for body in _bodies_of(task))


def is_batched(task: Any) -> bool:
    """True where a body of the decorator's runs for ``task``."""
    return any(getattr(body, MARK, False) for body in _bodies_of(task))


def _bodies_of(task: Any) -> Iterator[Any]:
    """The functions behind ``task.run``, from the outermost in."""
    yield from _inside(getattr(task, "_orig_run", None), task.run)


def _inside(*functions: Any) -> Iterator[Any]:
    inside = list(functions)
    while inside:
        fun = inside.pop()
        if fun is not None:
            yield fun
            inside += [getattr(fun, "__wrapped__", None), getattr(fun, "__func__", None)]


# A function that stands under @app.task, or alone


_unclaimed: list[Callable[..., Any]] = []
_shared: list[Callable[..., Any]] = []


def claimable(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """A function that the decorator above it makes a task; a shared task where there is none."""
    owner = wrapper.__qualname__.rpartition(".")[0]
    if owner and not owner.endswith("<locals>"):
        return wrapper  # The run method of a task class.
    _unclaimed.append(wrapper)
    # Celery calls the arguments that it checks those of the class.
    made: Callable[..., Any] = type(wrapper.__name__, (_Alone,), {})(wrapper)
    return made


class _Alone:
    """A function to whatever stands above it; what else is asked of it, is asked of its task.

    The task is that of the current app, as for a shared task, and is made when it is first needed:
    other decorators may look at the function, and mark it, before one makes it a task.
    """

    def __init__(self, wrapper: Callable[..., Any]) -> None:
        functools.update_wrapper(self, wrapper)
        # Celery and inspect read the arguments from it.
        vars(self)["__call__"] = wrapper

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return vars(self)["__wrapped__"](*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(vars(self)["__wrapped__"], instance)

    def __getattr__(self, name: str) -> Any:
        if _is_of_a_task(name):
            return getattr(self._task(), name)
        return getattr(vars(self)["__wrapped__"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if _is_of_a_task(name) and hasattr(Task, name):
            setattr(self._task(), name, value)
        else:
            vars(self)[name] = value

    def __delattr__(self, name: str) -> None:
        if name in vars(self):
            del vars(self)[name]
        else:
            delattr(self._task(), name)

    def __repr__(self) -> str:
        return repr(vars(self)["__wrapped__"])

    def __reduce__(self) -> str:
        return str(vars(self)["__qualname__"])

    def _task(self) -> Any:
        return _register(get_current_app(), vars(self)["__wrapped__"])


def _is_of_a_task(name: str) -> bool:
    return not name.startswith("__")


def _register(app: Any, wrapper: Callable[..., Any]) -> Any:
    """The task of ``wrapper`` on ``app``, made now if nothing else has made it."""
    app.finalize(auto=True)
    for task in app.tasks.values():
        if is_body_of(task, wrapper):
            return task
    return task_from_function(app, wrapper)


def _register_unclaimed(sender: Any = None, **_: Any) -> None:
    """Make what no app has claimed a task of this one, and of every other, as shared tasks are."""
    claimed = {id(body) for app in active_apps() for body in _bodies_on(app)}
    free = [wrapper for wrapper in _unclaimed if id(wrapper) not in claimed]
    _shared.extend(free)
    _unclaimed[:] = [wrapper for wrapper in _unclaimed if id(wrapper) in claimed]
    here = {id(body) for body in _bodies_on(sender)}
    for wrapper in _shared:
        if id(wrapper) not in here:
            task_from_function(sender, wrapper)


def _bodies_on(app: Any) -> Iterator[Any]:
    """The functions behind all tasks of an app, those included that it has yet to make."""
    for task in list(registered_tasks(app).values()):
        yield from _bodies_of(task)
    for promise in pending_tasks(app):
        yield from _inside(_promised(promise)[0])


def claim_shared(sender: Any = None, **_: Any) -> None:
    """A worker starts. Modules may have been imported after its app was finalized."""
    _register_unclaimed(sender.app)


def claim_shared_when_ready(app: Any) -> None:
    """An app is finalized: its shared tasks are made by then, or in a moment."""
    app.on_after_finalize.connect(_register_unclaimed, weak=False)


# A task that exists already


def wrap_task(target: Any, batched: Batched) -> Any:
    kind: Any = cast("Any", type)(target)
    if kind is PromiseProxy:
        fun, options = _promised(target)
        if fun is not None:
            _wrap_when_ready(fun, options.get("name"), batched)
        else:
            _set_run(maybe_evaluate(target), batched)
        return target
    if kind is Proxy:
        names = inspect.getclosurevars(object.__getattribute__(target, "_Proxy__local")).nonlocals
        _wrap_when_ready(names["fun"], names["name"], batched)
        return target
    if not issubclass(target if issubclass(kind, type) else kind, Task):
        raise TypeError(
            f"batched_llm_task takes a function, a task or a Task class, not {target!r}"
        )
    _set_run(target, batched)
    return target


def _promised(proxy: Any) -> tuple[Any, dict[str, Any]]:
    """The function and options of a task that Celery has not made yet; None where it has."""
    try:
        (fun,) = object.__getattribute__(proxy, "_Proxy__args")
    except AttributeError:
        return None, {}
    return fun, object.__getattribute__(proxy, "_Proxy__kwargs")


def _wrap_when_ready(fun: Callable[..., Any], name: str | None, batched: Batched) -> None:
    """Wrap the task of ``fun`` on every app that has it, once that app has made its tasks."""

    def wrap_on(sender: Any = None, **_: Any) -> None:
        its_name = name or sender.gen_task_name(fun.__name__, fun.__module__)
        task = registered_tasks(sender).get(its_name)
        if task is not None and is_body_of(task, fun):
            _set_run(task, batched)

    def when_ready(app: Any) -> None:
        # The finalizers of an app run in no order; after them, every task is made.
        app.on_after_finalize.connect(wrap_on, weak=False)

    connect_on_app_finalize(when_ready)
    for app in active_apps():
        if app.finalized:
            wrap_on(app)


def _set_run(task: Any, batched: Batched) -> None:
    """Replace what Celery runs, as its own autoretry does; a task is never registered twice.

    Where autoretry has, it stays around it, for it sees no error of a body that is a coroutine.
    """
    if "__batchq__" not in vars(task):
        place = "_orig_run" if "_orig_run" in vars(task) else "run"
        setattr(task, place, batched(getattr(task, place)))
        task.__batchq__ = True
