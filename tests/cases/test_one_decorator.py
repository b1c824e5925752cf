"""A function that stands alone under the decorator has all that a Celery task has.

It had ten names that were forwarded one by one. Under Django `delay_on_commit` was missing, and so
were `retry`, `request` and all others that nobody had thought of.
"""

from __future__ import annotations

import importlib
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from celery import Celery, Task, shared_task
from openai import OpenAI

from batchq import batched_llm_task
from batchq.celery_side.placement import is_batched
from tests.capture.bench import Bench, ask
from tests.harness import ROOT

client = OpenAI()


@batched_llm_task
def standing(text: str, *, size: int = 1) -> str:
    """What it says."""
    return ask(client, text * size)


alone: Any = standing


@pytest.fixture
def app() -> Iterator[Celery[Any]]:
    """The current app of this thread, not yet finalized."""
    local: Any = importlib.import_module("celery._state")._tls
    before = local.current_app
    made: Celery[Any] = Celery("alone")
    made.conf.task_ignore_result = True
    yield made
    local.current_app = before
    made.close()


def test_it_has_every_attribute_of_its_task(app: Celery[Any]) -> None:
    app.finalize()
    task: Any = app.tasks[f"{__name__}.standing"]
    names = [name for name in dir(task) if not name.startswith("__")]
    assert len(names) > 70
    different = [
        name
        for name in names
        if not inspect.ismethod(getattr(task, name))
        and name not in {"request", "run"}  # A new one, each time that it is asked for.
        and getattr(alone, name) != getattr(task, name)
    ]
    assert different == []
    bound = [name for name in names if inspect.ismethod(getattr(task, name))]
    assert [name for name in bound if getattr(alone, name) != getattr(task, name)] == []
    assert alone.app is app
    assert alone.request.called_directly
    assert is_batched(task)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = alone.no_such_name


def test_it_is_of_whichever_app_is_current(app: Celery[Any]) -> None:
    assert alone.name == f"{__name__}.standing"
    other: Celery[Any] = Celery("other", task_cls="tests.cases.test_one_decorator:OwnTask")
    assert alone.app is other
    assert alone.on_this_app_only() == alone.name
    other.close()
    app.set_current()
    assert alone.app is app
    assert not hasattr(alone, "on_this_app_only")


class OwnTask(Task):  # type: ignore[type-arg]
    abstract = True

    def on_this_app_only(self) -> str:
        return str(self.name)


def test_what_is_set_on_it_is_set_on_its_task(app: Celery[Any]) -> None:
    alone.rate_limit = "10/m"
    task: Any = app.tasks[f"{__name__}.standing"]
    assert task.rate_limit == "10/m"
    with mock.patch.object(alone, "delay") as delay:
        alone.delay("text")
    delay.assert_called_once_with("text")
    with mock.patch(f"{__name__}.alone.apply_async") as sent:
        alone.delay("text", size=2)
    sent.assert_called_once_with(("text",), {"size": 2})
    with pytest.raises(TypeError, match=r"standing\(\)"):
        alone.delay()


def test_other_decorators_may_mark_it_before_it_is_a_task(app: Celery[Any]) -> None:
    @batched_llm_task
    def marked() -> None: ...

    made: Any = marked
    made.flag = "set"
    made.__doc__ = "Changed."
    assert (made.flag, made.__doc__) == ("set", "Changed.")
    del made.flag
    assert not vars(app)["finalized"]


def test_it_is_a_function_to_who_looks_at_it() -> None:
    assert str(inspect.signature(alone)) == "(text: 'str', *, size: 'int' = 1) -> 'str'"
    assert (alone.__name__, alone.__doc__) == ("standing", "What it says.")
    assert (alone.__module__, alone.__qualname__) == (__name__, "standing")
    assert alone.__code__.co_name
    assert callable(alone)
    assert "standing" in repr(alone)


def test_it_can_be_pickled_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or mock.Mock())
    monkeypatch.setattr(sys.modules[__name__], "standing", alone, raising=False)
    assert pickle.loads(pickle.dumps(alone)) is alone  # noqa: S301 our own


@pytest.mark.parametrize("bind", [False, True])
@pytest.mark.parametrize("make", ["app", "shared"])
def test_what_stands_above_it_makes_the_task(bench: Bench, make: str, *, bind: bool) -> None:
    decorate: Any = bench.app.task if make == "app" else shared_task

    def body(*args: str) -> str:
        assert len(args) == 1 + bind
        return ask(client, args[-1])

    def free(text: str) -> str:
        return body(text)

    def bound(self: Any, text: str) -> str:
        assert self.request.id
        return body(self, text)

    fun: Callable[..., str] = bound if bind else free
    options = {"shared": False} if make == "app" else {}
    name = f"above.{make}.{bind}"
    decorate(bind=bind, name=name, **options)(batched_llm_task(fun))
    task: Any = bench.app.tasks[name]
    assert bench.run(task, name) == ask(client, name)
    with pytest.raises(TypeError, match="argument"):
        task.delay("one", "too many")


def test_under_django_it_is_sent_on_commit() -> None:
    """In a Python of its own: Django is configured once in a process."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DJANGO],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.split("\n") == ["[]", "['a', 'b']", ""], done.stdout + done.stderr


DJANGO = """
import os, sys, types
settings = types.ModuleType("shop_settings")
settings.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
settings.SECRET_KEY = "any"
sys.modules["shop_settings"] = settings
os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"
from celery import Celery
app = Celery("shop", broker="memory://")
app.config_from_object("django.conf:settings", namespace="CELERY")
from batchq import batched_llm_task
@batched_llm_task
def classify(text): ...
import django
django.setup()
from django.db import connection, transaction
def waiting():
    with app.connection_for_read() as broker:
        queue = broker.SimpleQueue("celery")
        found = []
        while len(queue):
            found += queue.get_nowait().payload[0]
        queue.close()
    return sorted(found)
with transaction.atomic():
    classify.delay_on_commit("a")
    classify.apply_async_on_commit(("b",))
    print(waiting())
print(waiting())
connection.close()
app.close()
"""
