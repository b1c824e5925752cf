"""`check` names what an app's own settings do to its batched tasks, in a sentence, with the mend.

The settings are those of real projects: limits and rate limits for all tasks, in one of the ways in
which Celery takes them, were met by tasks that are none of their kind.
"""

from __future__ import annotations

from typing import Any

import pytest
from celery.app.task import Task

from batchq import batched_llm_task
from batchq.commands.checks import Check, checks
from batchq.commands.set_up import at_rest
from batchq.observe.diagnosis import Seen
from batchq.settings.config import settings
from tests.apps.base import alone, make_app


class Slowly:
    """Annotations may be an object."""

    def annotate(self, task: Any) -> dict[str, Any] | None:
        return {"rate_limit": "3/h"} if task.name == "ask" else None


class Tenant(Task):  # type: ignore[type-arg]
    """Options may come from the class of all tasks."""

    time_limit = 20
    rate_limit = "7/m"


def body(text: str) -> str:
    return text


def told(conf: dict[str, Any], /, **options: Any) -> list[Check]:
    """What `check` says of an app with these settings, whose one task has these options."""
    where = {"broker_url": "redis://127.0.0.1:1/0", "result_backend": "redis://127.0.0.1:1/0"}
    usual = {"task_acks_late": True, "task_reject_on_worker_lost": True}
    app: Any = make_app("named", **{**where, **usual, **conf})
    app.task(name="ask", shared=False, **options)(batched_llm_task(body))
    app.task(name="not_ours", shared=False, soft_time_limit=1, rate_limit="1/h")(body)
    consumers = {"one": frozenset({"celery", "batchq"})}
    config = settings(app)
    set_up = at_rest(alone(app, "ask", "not_ours"), config)
    seen = Seen(settings=config, set_up=set_up, consumers=consumers)
    return [one for one in checks(seen) if one.about in {"celery", "workers"}]


def wrong(checks: list[Check]) -> list[tuple[str, str]]:
    return [(one.level, f"{one.what}; {one.do}") for one in checks if one.level != "ok"]


def test_an_app_without_such_settings_has_nothing_to_hear() -> None:
    assert wrong(told({})) == []


@pytest.mark.parametrize(
    ("conf", "options", "level", "said"),
    [
        ({"task_soft_time_limit": 5}, {}, "warning", "after 5 s (task_soft_time_limit)"),
        ({"task_time_limit": 5}, {}, "warning", "after 5 s (task_time_limit)"),
        ({}, {"soft_time_limit": 59}, "warning", "after 59 s (soft_time_limit)"),
        ({"task_soft_time_limit": 60}, {}, "info", "after 1 min (task_soft_time_limit)"),
        ({"task_time_limit": 300}, {}, "info", "after 5 min (task_time_limit)"),
        (
            {"task_annotations": {"ask": {"time_limit": 30}}},
            *({}, "warning", "after 30 s (task_annotations)"),
        ),
        ({"task_default_rate_limit": "9/m"}, {}, "warning", "9/m (task_default_rate_limit)"),
        ({}, {"rate_limit": "8/m"}, "warning", "begin 8/m (rate_limit)"),
        ({"task_annotations": [Slowly()]}, {}, "warning", "begin 3/h (task_annotations)"),
        (
            {"task_annotations": ({"*": {"rate_limit": "10/m"}},)},
            *({}, "warning", "begin 10/m (task_annotations)"),
        ),
        ({"task_acks_late": False}, {}, "info", "task_acks_late is off"),
        ({}, {"acks_late": False}, "info", "task_acks_late is off"),
        ({"task_reject_on_worker_lost": False}, {}, "info", "task_reject_on_worker_lost is off"),
        ({"task_routes": {"ask": "llm"}}, {}, "warning", "the queue 'llm', to which ask goes"),
        ({"task_routes": ([("as*", {"queue": "llm"})],)}, {}, "warning", "the queue 'llm'"),
        ({}, {"queue": "llm"}, "warning", "the queue 'llm'"),
        ({"task_default_queue": "main"}, {}, "warning", "the queue 'main'"),
        ({"task_routes": {"*": "batchq"}}, {}, "info", "the queue of Batchq's steps"),
        ({"worker_prefetch_multiplier": 0}, {}, "warning", "all that wait"),
        ({"worker_prefetch_multiplier": 100}, {}, "warning", "100 for each"),
        ({"worker_enable_remote_control": False}, {}, "info", "worker_enable_remote_control"),
    ],
)
def test_a_setting_is_named_with_its_mend(
    conf: dict[str, Any], options: dict[str, Any], level: str, said: str
) -> None:
    ((found, words),) = wrong(told(conf, **options))
    assert found == level
    assert said in words
    assert not words.endswith("; ")


def test_a_class_of_all_tasks_counts_too() -> None:
    words = " ".join(words for _, words in wrong(told({}, base=Tenant)))
    assert "after 20 s (time_limit)" in words
    assert "begin 7/m (rate_limit)" in words


@pytest.mark.parametrize(
    "conf",
    [
        {"task_default_rate_limit": "9/m", "worker_disable_rate_limits": True},
        {"task_default_rate_limit": 0},
        {"task_soft_time_limit": 600, "task_time_limit": 900},
        {"worker_prefetch_multiplier": 4},
        {"task_annotations": {"not_ours": {"rate_limit": "1/m"}}},
        {"task_routes": {"not_ours": "nobody"}},
    ],
)
def test_what_does_no_harm_is_not_named(conf: dict[str, Any]) -> None:
    assert wrong(told(conf)) == []


def test_results_that_are_not_kept_are_named() -> None:
    app: Any = make_app("named", task_ignore_result=True)
    app.task(name="ask", shared=False)(batched_llm_task(body))
    set_up = at_rest(alone(app, "ask"), settings(app))
    seen = Seen(settings=settings(app), set_up=set_up)
    (one,) = [one for one in checks(seen) if "BATCHED" in one.what]
    assert one.what.startswith("no result of ask")
    assert "(task_ignore_result)" in one.what
