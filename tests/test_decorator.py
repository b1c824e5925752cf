"""Every place where the decorator can stand, and every way to call what it decorates."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, shared_task
from celery.result import AsyncResult

from batchq import ConfigurationError, batched_llm_task
from tests import harness
from tests.apps import placements
from tests.apps.placements import app, ask, second
from tests.harness import Stack, wait_until

FUNCTIONS = [
    "under_app",
    "under_app_bound",
    "under_app_with_options",
    "under_shared",
    "under_shared_bound",
    "above_app",
    "above_app_bound",
    "above_shared",
    "above_shared_bound",
    "with_app",
    "with_app_bound",
    "with_name",
    "with_bind",
    "alone",
    "own_call",
]
PYDANTIC = ["pydantic_under", "pydantic_above"]
CLASSES = ["decorated_class", "decorated_run", "decorated_instance"]


def named(placement: str, on: Celery[Any] = app) -> Any:
    """The task of a placement, as Celery has it."""
    for prefix in ("tests.apps.placements", "placements"):
        if f"{prefix}.{placement}" in on.tasks:
            return on.tasks[f"{prefix}.{placement}"]
    raise AssertionError(f"{placement} is no task of {on.main}")


@pytest.fixture
def current() -> Iterator[Celery[Any]]:
    """The app is the current one, as in the process of a user with one app."""
    local: Any = importlib.import_module("celery._state")._tls
    before = local.current_app
    app.set_current()
    yield app
    local.current_app = before


@pytest.fixture(scope="module")
def stack(shared_stack: Stack) -> Stack:
    module = "tests.apps.placements"
    workers = [
        shared_stack.worker(module, wait=False),
        shared_stack.worker(f"{module}:second", pool="solo", queues=["second"], wait=False),
        shared_stack.worker(
            f"{module}:uninstalled", pool="solo", queues=["uninstalled"], wait=False
        ),
    ]
    shared_stack.beat(module)
    for worker in workers:
        worker.wait_for_output(" ready.")
    return shared_stack


@pytest.fixture(scope="module")
def sent(stack: Stack) -> Iterator[dict[str, AsyncResult[Any]]]:
    """One call of every task, all at once: they share their batches."""
    texts = {placement: f"A text for {placement}." for placement in [*FUNCTIONS, *CLASSES]}
    sent = {placement: named(placement).delay(text) for placement, text in texts.items()}
    for placement in PYDANTIC:
        sent[placement] = named(placement).delay({"text": f"A text for {placement}."})
    sent["on_second"] = named("on_second", second).delay("A text for on_second.")
    sent["above_shared on second"] = named("above_shared", second).delay("A text for the second.")
    yield sent
    # Results talk to Redis when they go.
    sent.clear()


def lines_of(stack: Stack, task_id: str) -> list[str]:
    return [line for line in stack.emulator.ledger()["lines"] if line.startswith(task_id)]


@pytest.mark.parametrize("placement", [*FUNCTIONS, *CLASSES, "on_second"])
def test_wherever_the_decorator_stands_the_call_is_batched(
    placement: str, stack: Stack, sent: dict[str, AsyncResult[Any]]
) -> None:
    result = sent[placement]
    assert result.get(timeout=30) == ask(f"A text for {placement}.")
    assert lines_of(stack, result.id) == [f"{result.id}-0"]


@pytest.mark.parametrize("placement", PYDANTIC)
def test_a_pydantic_task_gets_its_models_in_both_runs(
    placement: str, stack: Stack, sent: dict[str, AsyncResult[Any]]
) -> None:
    result = sent[placement]
    assert result.get(timeout=30) == {"text": ask(f"A text for {placement}.")}
    assert lines_of(stack, result.id) == [f"{result.id}-0"]


def test_a_shared_task_is_batched_on_every_app(
    stack: Stack, sent: dict[str, AsyncResult[Any]]
) -> None:
    result = sent["above_shared on second"]
    assert result.get(timeout=30) == ask("A text for the second.")
    assert lines_of(stack, result.id) == [f"{result.id}-0"]


def test_the_options_of_the_decorator_reach_the_lane(
    stack: Stack, sent: dict[str, AsyncResult[Any]]
) -> None:
    """Prompts with a label are set apart in a lane of their own, above and under."""
    for placement in ("under_app_with_options", "above_shared_bound"):
        sent[placement].get(timeout=30)
    lanes = [stack.redis.hget(key, "lane") for key in stack.redis.scan_iter("{batchq}:batch:*")]
    assert any(str(lane).endswith("|apart") for lane in lanes)


# What the decorator leaves alone


def test_decorating_finalizes_no_app() -> None:
    """A lazy app stays lazy: its settings may still come, in every placement."""
    code = (
        "from celery import current_app\n"
        "from tests.apps import placements as p\n"
        "from batchq import batched_llm_task\n"
        "print(p.app.finalized, p.second.finalized, p.uninstalled.finalized)\n"
        "print(current_app.finalized)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=harness.ROOT
    )
    assert output.stdout.split() == ["False"] * 4


def test_a_task_of_one_app_does_not_appear_on_another() -> None:
    """A function that stands under one app's own decorator is that app's alone.

    Functions decorated bare are made shared tasks where nothing else claims them. Those that an
    app had claimed for itself (``shared=False``) appeared on every other app of the process too.
    """
    first: Celery[Any] = Celery("first", set_as_current=False)
    other: Celery[Any] = Celery("other", set_as_current=False)

    @first.task(shared=False)
    @batched_llm_task
    def only_first() -> None: ...

    @batched_llm_task
    def on_both() -> None: ...

    for each in (other, first):
        each.finalize()
    names = {one.main: {name.rpartition(".")[2] for name in one.tasks} for one in (first, other)}
    assert {"only_first", "on_both"} <= names["first"]
    assert "on_both" in names["other"]
    assert "only_first" not in names["other"]


def test_a_task_that_is_made_after_its_app_was_finalized_is_batched() -> None:
    late: Celery[Any] = Celery("late", set_as_current=False)
    late.finalize()

    @late.task(name="late.under")
    @batched_llm_task
    def under() -> None: ...

    @batched_llm_task
    @late.task(name="late.above")
    def above() -> None: ...

    @batched_llm_task
    @shared_task(name="late.shared")
    def shared() -> None: ...

    @batched_llm_task(app=late, name="late.instead")
    def instead() -> None: ...

    for name in ("under", "above", "shared", "instead"):
        body: Any = late.tasks[f"late.{name}"].run
        assert body.__wrapped__.__name__ == name


def test_a_bare_function_is_registered_once(current: Celery[Any]) -> None:
    """Its name is the one that Celery gives a task of that function."""
    assert placements.alone.name == "tests.apps.placements.alone"
    assert placements.alone.s("x").task == "tests.apps.placements.alone"
    assert [name for name in app.tasks if "alone" in name] == ["tests.apps.placements.alone"]


@pytest.mark.parametrize("given", [1, "a name", len])
def test_only_functions_and_tasks_can_be_decorated(given: Any) -> None:
    with pytest.raises(TypeError, match="takes a function, a task or a Task class"):
        batched_llm_task(given)


def test_celery_options_belong_to_the_decorator_that_makes_the_task() -> None:
    lazy: Celery[Any] = Celery("lazy", set_as_current=False)

    @lazy.task
    def made() -> None: ...

    decorate: Any = batched_llm_task(bind=True, name="x")
    with pytest.raises(TypeError, match="give bind, name to the decorator that made this task"):
        decorate(made)


# Wrong arguments


@pytest.mark.parametrize("placement", FUNCTIONS)
@pytest.mark.parametrize("arguments", [(), ("a", "b")], ids=["too few", "too many"])
def test_wrong_arguments_are_refused_by_delay(placement: str, arguments: tuple[str, ...]) -> None:
    """As Celery does for a plain task, when it is called, and not later in a worker."""
    with pytest.raises(TypeError, match="argument"):
        named(placement).delay(*arguments)


@pytest.mark.parametrize("task", [placements.under_app, placements.above_shared, placements.alone])
def test_wrong_arguments_are_refused_by_what_the_decorator_returns(
    current: Celery[Any], task: Any
) -> None:
    with pytest.raises(TypeError, match="argument"):
        task.delay("a", another="b")


# Calls that go out now


@pytest.fixture
def live(stack: Stack, request: pytest.FixtureRequest) -> Iterator[None]:
    """The test makes one live call and no batch line."""
    before = stack.emulator.ledger(summary=True)
    yield
    after = stack.emulator.ledger(summary=True)
    assert after["live_calls"] == before["live_calls"] + 1
    assert after["lines_known"] == before["lines_known"]


@pytest.mark.parametrize("placement", ["under_app", "above_app", "with_app", "above_shared"])
@pytest.mark.usefixtures("live", "sent")
def test_called_as_a_function_a_task_calls_the_api_now(
    placement: str, current: Celery[Any]
) -> None:
    assert getattr(placements, placement)("Directly.")


@pytest.mark.usefixtures("live", "sent")
def test_a_bare_function_called_as_a_function_calls_the_api_now() -> None:
    assert placements.alone("Directly.")


@pytest.mark.usefixtures("live", "sent")
def test_apply_calls_the_api_now() -> None:
    assert named("under_app").apply(("Eagerly.",)).get()


@pytest.mark.usefixtures("live", "sent")
def test_an_always_eager_app_calls_the_api_now() -> None:
    eager: Celery[Any] = Celery("eager", set_as_current=False)
    eager.conf.task_always_eager = True

    @eager.task
    @batched_llm_task
    def say(text: str) -> str:
        return ask(text)

    assert say.delay("Eagerly.").get()


@pytest.mark.usefixtures("live", "sent")
def test_a_header_sends_one_call_live_from_a_worker() -> None:
    task = named("under_app")
    result = task.apply_async(("Now, please.",), headers={"batchq": "live"})
    assert result.get(timeout=30)


@pytest.mark.usefixtures("live", "sent")
@pytest.mark.parametrize("plain", ["plain_calls_a_function", "plain_calls_a_task"])
def test_a_batched_function_called_in_a_plain_task_calls_the_api_now(plain: str) -> None:
    assert named(plain).delay("In a plain task.").get(timeout=30)


def test_a_batched_task_called_in_a_batched_body_is_part_of_that_body(stack: Stack) -> None:
    result = named("calls_a_task").delay("Inside another.")
    assert result.get(timeout=30) == ask("Inside another.")
    assert lines_of(stack, result.id) == [f"{result.id}-0"]


def test_a_live_call_in_a_batched_body_is_made_once(stack: Stack) -> None:
    """The body runs twice; what it asked live is journaled, and not paid for again."""
    before = stack.emulator.ledger(summary=True)["live_calls"]
    result = named("partly_live").delay("Partly.")
    first, more = result.get(timeout=30)
    assert stack.emulator.ledger(summary=True)["live_calls"] == before + 1
    assert lines_of(stack, result.id) == [f"{result.id}-1"]
    assert [first, more] == [ask("Partly."), ask("More: Partly.")]


@pytest.mark.parametrize(
    ("placement", "call"),
    [
        ("mapped", lambda task: task.map(["a", "b"])),
        ("starmapped", lambda task: task.starmap([("a",), ("b",)])),
        ("chunked", lambda task: task.chunks([("a",), ("b",)], 2)),
    ],
)
def test_map_starmap_and_chunks_go_live_and_say_so_once(
    stack: Stack, sent: dict[str, AsyncResult[Any]], placement: str, call: Any
) -> None:
    """Celery runs their items inside one task of its own, so there is nothing to resume."""
    before = stack.emulator.ledger(summary=True)["live_calls"]
    answers = call(named(placement)).apply_async().get(timeout=30)
    assert [ask("a"), ask("b")] in (answers, *answers)
    assert stack.emulator.ledger(summary=True)["live_calls"] == before + 4
    log = stack.processes[0].output()
    said = [line for line in log.splitlines() if f"placements.{placement} runs inside" in line]
    assert len(said) == 1
    assert f"group({placement}.s(item) for item in items)" in said[0]


def test_without_install_the_task_says_what_is_missing(stack: Stack) -> None:
    result = named("on_uninstalled", placements.uninstalled).delay("x")
    with pytest.raises(ConfigurationError, match=r"call batchq\.install\(app\)"):
        result.get(timeout=30)


def test_the_journal_lets_go_of_every_task(stack: Stack, sent: dict[str, AsyncResult[Any]]) -> None:
    for result in sent.values():
        result.get(timeout=30)

    def is_empty() -> bool:
        return not stack.redis.zcard("{batchq}:waiting") + stack.redis.zcard("{batchq}:resuming")

    wait_until(is_empty, description="no task is waiting or resuming")
