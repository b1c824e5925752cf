"""`@batched_llm_task`: what the user touches.

Its types, its options, and the function that Celery runs in the place of the body.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
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
    get_args,
    overload,
)

from celery import shared_task
from celery.local import PromiseProxy, Proxy

from batchq.flow.capture import run_body
from batchq.hook import install_hook
from batchq.placement import MARK, claimable, is_body_of, wrap_task
from batchq.run import OnChanged, current_run
from batchq.seams import task_stack
from batchq.started import say_started
from batchq.threads import carry_runs

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
    on_changed: OnChanged = "ask",
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
    on_changed: OnChanged = "ask",
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
    on_changed: OnChanged = "ask",
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
    strict: end a task with an error, and ask nothing, where it would only be warned of: its
        request has changed and an answer is left unread (RequestChanged), or its body went on
        after its question (CaptureSwallowed). Default: the setting ``batchq_strict``.
    on_changed: what a request gets that has no equal among the answers: "ask" asks it, as a new
        question; "by_order" gives it the first answer from the same place in the code that nobody
        has read, for bodies that have a time in their prompt and know it.
    ask_again_on: errors of the body that say that an answer was bad, so that a retry asks anew.
        After any other error a retry gets the paid answer again. Default: OpenAI's errors,
        ValueError (pydantic's and json's are ValueErrors) and LookupError.
    """
    install_hook()
    carry_runs()
    if on_changed not in get_args(OnChanged):
        raise TypeError(f"on_changed is 'ask' or 'by_order', not {on_changed!r}")
    errors = (ask_again_on,) if isinstance(ask_again_on, type) else ask_again_on
    batched = functools.partial(
        _batched, label=label, strict=strict, on_changed=on_changed, ask_again_on=errors
    )

    def decorate(target: Any) -> Any:
        # A proxy answers isinstance() by evaluating itself, and that finalizes the app.
        if type(target) in (PromiseProxy, Proxy) or not inspect.isfunction(target):
            if app is not None or options:
                given = ", ".join(["app"] * (app is not None) + sorted(options))
                raise TypeError(f"give {given} to the decorator that made this task")
            return wrap_task(target, batched)
        if app is not None:
            return app.task(**options)(batched(target))
        if options:
            return shared_task(**options)(batched(target))
        return claimable(batched(target))

    return decorate if target is None else decorate(target)


def _batched(
    fun: Callable[..., Any],
    *,
    label: str,
    strict: bool | None,
    on_changed: OnChanged,
    ask_again_on: tuple[type[BaseException], ...] | None,
) -> Callable[..., Any]:
    """The body of a task, as Celery is to call it."""

    @functools.wraps(fun)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        task = _task_to_batch(wrapper)
        if task is None:
            return fun(*args, **kwargs)
        run = run_eager if task.request.is_eager and run_eager is not None else run_body
        return run(
            task,
            functools.partial(fun, *args, **kwargs),
            label=label,
            strict=strict,
            on_changed=on_changed,
            ask_again_on=ask_again_on,
        )

    # Celery checks arguments by getfullargspec, which does not look through __wrapped__.
    vars(wrapper)["__signature__"] = inspect.signature(fun)
    vars(wrapper)[MARK] = True
    return wrapper


def _task_to_batch(wrapper: Callable[..., Any]) -> Any:
    """The task whose delivery this call is; None where the call is an ordinary, live one."""
    stack = task_stack()
    eager = bool(stack) and stack[-1].request.is_eager and run_eager is not None
    if not stack or (current_run() is not None and not eager):
        return None  # Inside a batched body, a function is part of that body.
    task = stack[-1]
    request: Any = task.request
    if request.called_directly:
        _warn_of_map(task)
        return None
    if (request.is_eager and not eager) or not is_body_of(task, wrapper):
        return None
    headers: dict[str, Any] = request.headers or {}
    if headers.get("batchq") == "live":
        say_started(task)
        return None
    return task


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


run_eager: Callable[..., Any] | None = None
"""What runs the body of an eager call in the place of `run_body`: `batchq.testing` sets it, while a
test answers. Where it is None, an eager call is live."""

_warned: set[str] = set()
