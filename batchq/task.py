"""`@batched_llm_task`: what the user touches.

Its types, its options, and the function that Celery runs in the place of the body.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import contextmanager
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

from batchq.capture.coroutines import awaited
from batchq.capture.delivery import run_body
from batchq.capture.parked import Parked
from batchq.capture.patches import put_patches
from batchq.capture.run import OnChanged, current_run
from batchq.celery_side.placement import MARK, claimable, is_body_of, wrap_task
from batchq.celery_side.sdk_errors import keep_sdk_errors
from batchq.celery_side.started import say_started
from batchq.common.record import nearest
from batchq.common.seams.tasks import task_stack
from batchq.errors import ConfigurationError

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

    from batchq.bulk import Enqueued

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
        @overload
        def get(
            self: TaskResult[Coroutine[Any, Any, R]],
            timeout: float | None = None,
            *args: Any,
            **kwargs: Any,
        ) -> R: ...
        @overload
        def get(self, timeout: float | None = None, *args: Any, **kwargs: Any) -> R_co: ...
        def get(self, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any: ...


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
    # Of the class that Celery gives tasks in a Django project.
    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    def apply_async_on_commit(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None: ...
    def s(self, *args: Any, **kwargs: Any) -> Any: ...
    def si(self, *args: Any, **kwargs: Any) -> Any: ...
    def signature(self, *args: Any, **kwargs: Any) -> Any: ...
    def map(self, it: Iterable[Any]) -> Any: ...
    def starmap(self, it: Iterable[Any]) -> Any: ...
    def chunks(self, it: Iterable[Any], n: int) -> Any: ...
    def enqueue(
        self,
        rows: Iterable[Any],
        *,
        key: Callable[[Any], object] | None = None,
        in_broker: int | None = 10_000,
        resend: bool = False,
        progress: bool | None = None,
        **options: Any,
    ) -> Enqueued: ...
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
        After any other error a retry gets the paid answer again. An error that was raised from one
        of them, or in its place, counts as well; one that comes from an error of Batchq's never
        does. Default: OpenAI's errors, ValueError (pydantic's and json's are) and LookupError.
    """
    put_patches()
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
    whole = awaited(fun)

    @functools.wraps(fun)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        task = _task_to_run(wrapper)
        if task is None:
            return fun(*args, **kwargs)
        body = functools.partial(whole, *args, **kwargs)
        try:
            if _goes_live(task):
                with _own_calls_return_coroutines(task):
                    return body()
            return _runner_of(task)(
                task,
                body,
                label=label,
                strict=strict,
                on_changed=on_changed,
                ask_again_on=ask_again_on,
            )
        except Parked:
            raise  # Each capture ends so, and it is no error.
        except Exception:
            keep_sdk_errors()  # The body may have been the first to import the SDK.
            raise

    # Celery checks arguments by getfullargspec, which does not look through __wrapped__.
    vars(wrapper)["__signature__"] = inspect.signature(fun)
    vars(wrapper)[MARK] = True
    return wrapper


def _task_to_run(wrapper: Callable[..., Any]) -> Any:
    """The task that Celery runs by this call; None where the call is the user's own."""
    stack = task_stack()
    if not stack or not is_body_of(stack[-1], wrapper):
        return None
    if current_run() is not None and not _is_answered_by_a_test(stack[-1]):
        return None  # Inside a batched body, a function is part of that body.
    request: Any = stack[-1].request
    own = request.called_directly and not _is_item_of_map()
    return None if own or getattr(request, _BEGUN, False) else stack[-1]


def _goes_live(task: Any) -> bool:
    """True for a call that is made now, by whoever runs it."""
    request: Any = task.request
    if request.called_directly:
        _warn_of_map(task)
        return True
    headers: dict[str, Any] = request.headers or {}
    if request.is_eager and not _is_answered_by_a_test(task):
        return True
    said = headers.get("batchq")
    if said is None:
        return False
    if said != "live":
        expected = 'accepted is "live"; without it a call waits for a batch'
        close = nearest(str(said), ["live"])
        raise ConfigurationError("the header batchq", repr(said), expected, close)
    say_started(task)
    return True


def _runner_of(task: Any) -> Callable[..., Any]:
    return run_body if run_eager is None or not task.request.is_eager else run_eager


def _is_answered_by_a_test(task: Any) -> bool:
    """True for an eager call within `batchq.testing`, which stands for a delivery."""
    return _runner_of(task) is not run_body


_BEGUN = "batchq_begun"


@contextmanager
def _own_calls_return_coroutines(task: Any) -> Generator[None]:
    """Within it, a call of the same task is one that its body makes. Its request is a copy."""
    request = task.request
    setattr(request, _BEGUN, True)
    try:
        yield
    finally:
        setattr(request, _BEGUN, False)


def _is_item_of_map() -> bool:
    """True where Celery calls the task for one item of map, starmap or chunks."""
    outer = [each.name for each in task_stack()[-2:-1]]
    return outer in (["celery.map"], ["celery.starmap"])


def _warn_of_map(task: Any) -> None:
    if task.name not in _warned:
        _warned.add(task.name)
        logger.warning(
            "%s runs inside %s (map, starmap or chunks), where Celery calls it as a plain "
            "function: its prompts go live, at the live price. "
            "Use group(%s.s(item) for item in items).",
            *(task.name, task_stack()[-2].name, task.name.rpartition(".")[2]),
            extra={"action": "capture"},
        )


run_eager: Callable[..., Any] | None = None
"""What runs the body of an eager call in the place of `run_body`: `batchq.testing` sets it, while a
test answers. Where it is None, an eager call is live."""

_warned: set[str] = set()
