"""What seams.py and message.py use of Celery and kombu, held against the installed release."""

from __future__ import annotations

from celery import Celery, Task, signals
from celery.exceptions import Ignore
from celery.states import READY_STATES

from batchq import seams


def test_the_stack_of_running_tasks_is_empty_outside_a_task() -> None:
    assert seams.task_stack() == []


def test_a_running_task_is_on_top_of_the_stack() -> None:
    app = Celery("seams", set_as_current=False)
    seen: list[str] = []

    @app.task(name="seams.look", shared=False)
    def look() -> None:
        seen.extend(task.name for task in seams.task_stack())

    look.apply()
    assert seen == ["seams.look"]


def test_an_app_is_among_the_active_ones_until_it_is_closed() -> None:
    app = Celery("seams", set_as_current=False)
    assert app in seams.active_apps()
    app.close()
    assert app not in seams.active_apps()


def test_tasks_are_made_and_listed_without_finalizing_the_app() -> None:
    app = Celery("seams", set_as_current=False, autofinalize=True)
    assert "celery.chord" not in seams.registered_tasks(app)
    assert not vars(app)["finalized"]


def test_a_function_becomes_a_task_of_its_app() -> None:
    app = Celery("seams", set_as_current=False)
    app.finalize()

    def fresh() -> int:
        return 1

    task: Task[[], int] = seams.task_from_function(app, fresh)
    assert app.tasks[task.name].run() == 1


def test_kombu_names_the_serializer_of_a_content_type() -> None:
    assert seams.serializer_of("application/json") == "json"
    assert seams.serializer_of("application/x-python-serialize") == "pickle"
    assert seams.serializer_of(None) is None


def test_a_queue_is_consumed_unless_the_worker_was_told_its_queues() -> None:
    free, told = (Celery("seams", set_as_current=False) for _ in range(2))
    told.amqp.queues.select(["celery"])
    for app in (free, told):
        seams.add_queue(app, "more")
        seams.add_queue(app, "more")
    assert set(free.amqp.queues.consume_from) == {"celery", "more"}
    assert set(told.amqp.queues.consume_from) == {"celery"}


def test_a_queue_is_added_to_an_app_that_makes_none_by_itself() -> None:
    app = Celery("seams", set_as_current=False)
    app.conf.task_create_missing_queues = False
    seams.add_queue(app, "more")
    assert app.amqp.router.route({"queue": "more"}, "a.task")["queue"].name == "more"


def test_the_tasks_that_an_app_has_yet_to_make_are_listed() -> None:
    app = Celery("seams", set_as_current=False)

    @app.task(shared=False)
    def later() -> None: ...

    assert [type(task).__name__ for task in seams.pending_tasks(app)] == ["PromiseProxy"]
    app.finalize()
    assert seams.pending_tasks(app) == []


def test_a_call_may_say_that_its_result_is_ignored() -> None:
    app = Celery("seams", set_as_current=False)

    @app.task(name="seams.kept", shared=False, bind=True)
    def kept(self: Task[..., bool]) -> bool:
        return seams.ignores_result(self)

    assert kept.apply().get() is False
    assert kept.apply(ignore_result=True).result is True


def test_an_ignored_task_has_no_final_state() -> None:
    """A parked execution ends in IGNORED; were that a final state, chords would count it."""
    assert issubclass(Ignore, Exception)
    assert "IGNORED" not in READY_STATES


def test_a_request_lives_from_prerun_until_after_postrun() -> None:
    """capture.py keeps its delivery on the request and settles it in task_postrun."""
    app = Celery("seams", set_as_current=False)
    found: list[object] = []

    @app.task(name="seams.marked", shared=False, bind=True)
    def marked(self: Task[..., None]) -> None:
        self.request.__dict__["batchq_mark"] = "mine"

    def after(task: Task[..., None], **_: object) -> None:
        found.append(task.request.__dict__.get("batchq_mark"))

    signals.task_postrun.connect(after, sender=app.tasks["seams.marked"])
    try:
        marked.apply()
    finally:
        signals.task_postrun.disconnect(after, sender=app.tasks["seams.marked"])
    assert found == ["mine"]
