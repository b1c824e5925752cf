"""`@batched_llm_task`: what the user touches.

It goes under or above ``@app.task`` and ``@shared_task``, on task classes, or in their place. The
app stays lazy: nothing here evaluates a proxy or finalizes an app.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from celery import Task, shared_task, signals
from celery._state import connect_on_app_finalize, get_current_app
from celery.local import PromiseProxy, Proxy, maybe_evaluate

from batchq.flow.capture import run_body
from batchq.hook import install_hook
from batchq.run import current_run
from batchq.seams import (
    active_apps,
    pending_tasks,
    registered_tasks,
    task_from_function,
    task_stack,
)

__all__ = ["BatchedTask", "batched_llm_task"]

logger = logging.getLogger("batchq.task")

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
Q = ParamSpec("Q")
ClassT = TypeVar("ClassT", bound=type)

if TYPE_CHECKING:
    from celery.result import AsyncResult

    class TaskResult(AsyncResult[Any], Generic[R_co]):
        """Celery's AsyncResult, knowing what the task returns, and that it may be BATCHED."""

        @property
        def state(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            self,
        ) -> str: ...
        @property
        def status(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            self,
        ) -> str: ...
        def get(self, timeout: float | None = None, *args: Any, **kwargs: Any) -> R_co: ...


class BatchedTask(Protocol[P, R_co]):
    """A Celery task that keeps its function's signature. Calling it calls the live API now."""

    name: str

    # A body that is a method of a task class is bound like any other.
    @overload
    def __get__(self, instance: None, owner: type, /) -> BatchedTask[P, R_co]: ...
    @overload
    def __get__(
        self: BatchedTask[Concatenate[S, Q], R_co], instance: S, owner: type, /
    ) -> BatchedTask[Q, R_co]: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def delay(self, *args: P.args, **kwargs: P.kwargs) -> TaskResult[R_co]: ...
    def apply_async(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> TaskResult[R_co]: ...
    def apply(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any: ...
    def s(self, *args: Any, **kwargs: Any) -> Any: ...
    def si(self, *args: Any, **kwargs: Any) -> Any: ...
    def signature(self, *args: Any, **kwargs: Any) -> Any: ...
    def map(self, it: Iterable[Any]) -> Any: ...
    def starmap(self, it: Iterable[Any]) -> Any: ...
    def chunks(self, it: Iterable[Any], n: int) -> Any: ...
    def AsyncResult(self, task_id: str, **kwargs: Any) -> TaskResult[R_co]: ...  # noqa: N802 Celery's name


class _AlreadyTask(Protocol):
    """What tells a task from a function, with and without type stubs for Celery."""

    def apply_async(self, *args: Any, **kwargs: Any) -> Any: ...
    def signature(self, *args: Any, **kwargs: Any) -> Any: ...


TaskT = TypeVar("TaskT", bound=_AlreadyTask)


class _Function(Protocol[P, R_co]):
    """What tells a function from a task, which can be called too."""

    __code__: CodeType

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class _Decorator(Protocol):
    """The decorator with its options given."""

    @overload
    def __call__(self, target: ClassT, /) -> ClassT: ...
    @overload
    def __call__(self, target: TaskT, /) -> TaskT: ...
    @overload
    def __call__(self, target: _Function[P, R], /) -> BatchedTask[P, R]: ...


AskAgainOn = type[BaseException] | tuple[type[BaseException], ...]


@overload
def batched_llm_task(target: ClassT, /) -> ClassT: ...
@overload
def batched_llm_task(target: TaskT, /) -> TaskT: ...
@overload
def batched_llm_task(target: _Function[P, R], /) -> BatchedTask[P, R]: ...
@overload
def batched_llm_task(
    *,
    bind: Literal[True],
    app: Any = None,
    label: str = "",
    strict: bool | None = None,
    ask_again_on: AskAgainOn | None = None,
    **options: Any,
) -> Callable[[Callable[Concatenate[Any, P], R]], BatchedTask[P, R]]: ...
@overload
def batched_llm_task(
    *,
    bind: Literal[False] = False,
    app: Any = None,
    label: str = "",
    strict: bool | None = None,
    ask_again_on: AskAgainOn | None = None,
    **options: Any,
) -> _Decorator: ...
def batched_llm_task(
    target: Any = None,
    /,
    *,
    app: Any = None,
    label: str = "",
    strict: bool | None = None,
    ask_again_on: AskAgainOn | None = None,
    **options: Any,
) -> Any:
    """Send the OpenAI calls of a Celery task through the Batch API; its body stays as it is.

    Works under or above ``@app.task`` and ``@shared_task``, on a ``Task`` class, or in their place:
    with ``app=`` or any of Celery's task options, or where nothing else makes the function a task,
    it makes the task itself (a shared one without ``app``).

    Called as a function, eagerly, or inside ``with batchq.live():`` the task calls the API now; so
    does one call sent with ``apply_async(..., headers={"batchq": "live"})``.

    The body runs again from the top after each answer: put what writes after the last call, or
    into `batchq.once`.

    label: sets prompts apart in a lane of their own.
    strict: refuse (RequestChanged) a replay that asks something else than was asked and paid for,
        instead of giving it that answer with a warning. Default: the setting ``batchq_strict``.
    ask_again_on: errors of the body that say that an answer was bad, so that a retry asks anew.
        After any other error a retry gets the paid answer again. Default: OpenAI's errors,
        ValueError (pydantic's and json's are ValueErrors) and LookupError.
    """
    install_hook()
    errors = (ask_again_on,) if isinstance(ask_again_on, type) else ask_again_on
    batched = functools.partial(_batched, label=label, strict=strict, ask_again_on=errors)

    def decorate(target: Any) -> Any:
        # A proxy answers isinstance() by evaluating itself, and that finalizes the app.
        if type(target) in (PromiseProxy, Proxy) or not inspect.isfunction(target):
            if app is not None or options:
                given = ", ".join(["app"] * (app is not None) + sorted(options))
                raise TypeError(f"give {given} to the decorator that made this task")
            return _wrap_task(target, batched)
        if app is not None:
            return app.task(**options)(batched(target))
        if options:
            return shared_task(**options)(batched(target))
        return _claimable(batched(target))

    return decorate if target is None else decorate(target)


Batched = Callable[[Callable[..., Any]], Callable[..., Any]]


def _batched(
    fun: Callable[..., Any],
    *,
    label: str,
    strict: bool | None,
    ask_again_on: tuple[type[BaseException], ...] | None,
) -> Callable[..., Any]:
    """The body of a task, as Celery is to call it."""

    @functools.wraps(fun)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        task = _task_to_batch(wrapper)
        if task is None:
            return fun(*args, **kwargs)
        return run_body(
            task,
            functools.partial(fun, *args, **kwargs),
            label=label,
            strict=strict,
            ask_again_on=ask_again_on,
        )

    # Celery checks arguments by getfullargspec, which does not look through __wrapped__.
    vars(wrapper)["__signature__"] = inspect.signature(fun)
    return wrapper


def _task_to_batch(wrapper: Callable[..., Any]) -> Any:
    """The task whose delivery this call is; None where the call is an ordinary, live one."""
    stack = task_stack()
    if not stack or current_run() is not None:
        return None  # Inside a batched body, a function is part of that body.
    task = stack[-1]
    request: Any = task.request
    if request.called_directly:
        _warn_of_map(task)
        return None
    headers: dict[str, Any] = request.headers or {}
    live = headers.get("batchq") == "live"
    return None if request.is_eager or live or not _is_body_of(task, wrapper) else task


def _warn_of_map(task: Any) -> None:
    outer = [each.name for each in task_stack()[:-1]]
    if outer and outer[-1] in {"celery.map", "celery.starmap"} and task.name not in _warned:
        _warned.add(task.name)
        logger.warning(
            "%s runs inside %s (map, starmap or chunks), where Celery calls it as a plain "
            "function: its prompts go live, at the live price. "
            "Use group(%s.s(item) for item in items).",
            *(task.name, outer[-1], task.name.rpartition(".")[2]),
            extra={"action": "capture"},
        )


_warned: set[str] = set()


def _is_body_of(task: Any, wrapper: Callable[..., Any]) -> bool:
    """True where Celery runs ``wrapper`` for ``task``, directly or through its own wrappers."""
    return any(body is wrapper for body in _bodies_of(task))


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


_API = ("AsyncResult apply apply_async chunks delay map s si signature starmap").split()

_unclaimed: list[Callable[..., Any]] = []
_shared: list[Callable[..., Any]] = []


def _claimable(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """A function that the decorator above it makes a task; a shared task where there is none."""
    owner = wrapper.__qualname__.rpartition(".")[0]
    if owner and not owner.endswith("<locals>"):
        return wrapper  # The run method of a task class.
    _unclaimed.append(wrapper)

    def forward(name: str) -> Callable[..., Any]:
        def forwarded(*args: Any, **kwargs: Any) -> Any:
            app = get_current_app()
            return getattr(_register(app, wrapper), name)(*args, **kwargs)

        return forwarded

    for name in _API:
        setattr(wrapper, name, forward(name))
    vars(wrapper)["name"] = f"{wrapper.__module__}.{wrapper.__name__}"
    return wrapper


def _register(app: Any, wrapper: Callable[..., Any]) -> Any:
    """The task of ``wrapper`` on ``app``, made now if nothing else has made it."""
    app.finalize(auto=True)
    for task in app.tasks.values():
        if _is_body_of(task, wrapper):
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


@signals.worker_init.connect(weak=False)
def _when_a_worker_starts(sender: Any = None, **_: Any) -> None:
    # Modules that were imported after the app was finalized.
    _register_unclaimed(sender.app)


@connect_on_app_finalize
def _when_an_app_is_ready(app: Any) -> None:
    app.on_after_finalize.connect(_register_unclaimed, weak=False)


# A task that exists already


def _wrap_task(target: Any, batched: Batched) -> Any:
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
        if task is not None and _is_body_of(task, fun):
            _set_run(task, batched)

    def when_ready(app: Any) -> None:
        # The finalizers of an app run in no order; after them, every task is made.
        app.on_after_finalize.connect(wrap_on, weak=False)

    connect_on_app_finalize(when_ready)
    for app in active_apps():
        if app.finalized:
            wrap_on(app)


def _set_run(task: Any, batched: Batched) -> None:
    """Replace what Celery runs, as its own autoretry does; a task is never registered twice."""
    if "__batchq__" not in vars(task):
        task.run = batched(task.run)
        task.__batchq__ = True
