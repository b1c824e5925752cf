"""What is used of Flower's insides is as it is thought to be, in the installed release."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from tornado.routing import URLSpec

from batchq.flower import install, seams

flower = pytest.importorskip("flower", reason="no Flower")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """Flower keeps its pages in lists of its module."""
    from flower import urls

    handlers, settings = list(urls.handlers), dict(urls.settings)
    yield
    urls.handlers[:] = handlers
    urls.settings.clear()
    urls.settings.update(settings)


def overlay() -> seams.Overlay:
    from flower.urls import settings

    return seams.Overlay(settings["template_path"])


# Pages


def test_our_pages_come_before_the_one_that_takes_everything_else() -> None:
    from flower import app, urls

    assert app.default_handlers is urls.handlers, "what is added to the list is served"
    install()
    names = [getattr(handler, "name", None) for handler in urls.handlers]
    assert names.index("batchq-batches") < names.index("main")
    assert "NotFound" in urls.handlers[-1][1].__name__


def test_installing_twice_is_installing_once() -> None:
    from flower import urls

    install()
    once, loader = len(urls.handlers), urls.settings["template_loader"]
    install()
    assert len(urls.handlers) == once
    assert urls.settings["template_loader"] is loader


def test_a_prefix_leaves_a_page_its_name_and_what_it_is_given() -> None:
    from flower.app import rewrite_handler

    page = URLSpec(r"/batches/static/(.+)", object, {"path": "here"}, name="a")
    with_prefix = rewrite_handler(page, "/deep/")
    assert with_prefix.regex.pattern == "/deep/batches/static/(.+)$"
    assert (with_prefix.kwargs, with_prefix.name) == ({"path": "here"}, "a")


def test_flower_looks_for_the_tokens_of_posts() -> None:
    """`xsrf_cookies` is what makes Tornado call check_xsrf_cookie before a POST."""
    from flower.urls import settings
    from flower.views import BaseHandler

    assert settings["xsrf_cookies"] is True
    assert "xsrf_token" in inspect.getsource(BaseHandler.render), "pages set the cookie"


@pytest.mark.parametrize(
    "name", ["capp", "unauthenticated_api", "get_current_user", "write_error", "render"]
)
def test_flowers_handler_has_what_ours_stand_on(name: str) -> None:
    from flower.views import BaseHandler

    assert hasattr(BaseHandler, name)


@pytest.mark.parametrize("name", ["basic_auth", "auth", "read_only", "url_prefix"])
def test_flower_has_the_options_that_are_read(name: str) -> None:
    from flower.options import options

    assert hasattr(options, name)


def test_flowers_metrics_are_those_of_the_clients_registry() -> None:
    from flower.views.monitor import Metrics

    assert inspect.iscoroutinefunction(Metrics.get)
    assert "prometheus_client.generate_latest()" in inspect.getsource(Metrics.get)


# Templates


@pytest.mark.parametrize("name", sorted(seams.PATCHES))
def test_every_addition_finds_its_place(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        overlay().load(name)
    assert caplog.messages == []


def test_a_page_that_flower_has_changed_stays_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "navbar.html").write_text("<nav>all different</nav>")
    page = seams.Overlay(str(tmp_path)).load("navbar.html")
    assert page.generate() == b"<nav>all different</nav>"
    assert "navbar.html" in caplog.text


def test_every_template_of_ours_can_be_read() -> None:
    loader = overlay()
    paths = list(seams.TEMPLATES.rglob("*.html"))
    assert paths
    for path in paths:
        loader.load(str(path.relative_to(seams.TEMPLATES)))


def test_what_our_pages_borrow_of_flowers_looks_is_there() -> None:
    import flower as package

    own = Path(seams.__file__).parent
    ours = (own / "static/batchq.css").read_text()
    theirs = (Path(package.__file__).parent / "static/css/flower.css").read_text()
    for variable in set(re.findall(r"var\((--flower-[\w-]+)\)", ours)):
        assert f"{variable}:" in theirs, variable
    for name in ("metric-card", "task-state-filter", "refresh-status", "page-eyebrow"):
        assert f".{name}" in theirs, name


# States


def state_of(order: tuple[str, ...], events: dict[str, dict[str, Any]]) -> str:
    """The state that Flower shows of a task whose events arrive in this order."""
    from flower.events import EventsState

    state = EventsState()
    for arrived, kind in enumerate(order):
        event = {
            "uuid": "t",
            "hostname": "w",
            "pid": 1,
            "type": kind.rstrip("2"),
            "name": "say",
            "clock": arrived,
            "timestamp": events[kind]["at"],
            "local_received": arrived,
        }
        state.event(event)
    return str(state.tasks["t"].state)


LIFE = ("task-received", "task-started", "task-batched")


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ((), "BATCHED"),
        (("task-revoked",), "REVOKED"),
        (("task-failed",), "FAILURE"),
        (("task-started2", "task-failed"), "FAILURE"),
        (("task-started2", "task-succeeded"), "SUCCESS"),
        (("task-received2", "task-revoked"), "REVOKED"),
    ],
)
def test_the_state_is_right_whatever_the_order_of_the_events(
    last: tuple[str, ...], expected: str
) -> None:
    """A state that Celery does not know stands above REVOKED: who was told so late that a task
    waits, or so early that it was revoked, went on saying BATCHED for ever.
    """
    install()
    events = {kind: {"at": float(at)} for at, kind in enumerate((*LIFE, *last))}
    wrong = {o for o in permutations(events) if state_of(o, events) != expected}
    assert wrong == set()


def test_a_task_that_is_retried_waits_again() -> None:
    install()
    kinds = (*LIFE, "task-retried", "task-received2", "task-started2", "task-batched2")
    events = {kind: {"at": float(at)} for at, kind in enumerate(kinds)}
    assert state_of(kinds[:4], events) == "RETRY"
    assert state_of(kinds, events) == "BATCHED"
