"""Celery's Request of a batched task: the app's own, which says as well when its task waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery import Task
from celery.exceptions import Ignore
from celery.worker.request import Request

from batchq import batched_llm_task
from batchq.capture.parked import Parked
from batchq.capture.request import take_requests
from tests.apps.base import make_app


class Own(Request):
    """A class of requests that an app has for its tasks."""

    told: list[str] = []  # noqa: RUF012 what all of them have sent
    ended = 0

    def __init__(self) -> None:
        """It stands for one that came from a broker, and has ended there."""

    def acknowledge(self) -> None:
        self.__dict__["ended"] = self.ended + 1

    def send_event(self, type: str, **_: Any) -> None:  # noqa: A002 Celery's name
        self.told.append(type)

    id = "id"


class OwnTask(Task):  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument]
    Request = f"{__name__}:Own"


@pytest.fixture
def request_of() -> dict[str, Any]:
    app = make_app("requests")

    @app.task(base=OwnTask, name="batched")
    @batched_llm_task
    def batched() -> None: ...

    @app.task(base=OwnTask, name="plain")
    def plain() -> None: ...

    take_requests(SimpleNamespace(app=app))
    return {name: app.tasks[name].Request for name in ("batched", "plain")}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Parked("CAPTURED"), ["task-batched"]),
        (Parked("ADOPTED"), ["task-batched"]),
        (Parked("ALREADY"), ["task-batched"]),
        # Its task is revoked, or another run of it has taken over.
        (Parked("REVOKED"), []),
        (Parked("LOST"), []),
        # A second delivery.
        (Parked(), []),
        (Ignore(), []),
    ],
)
def test_it_says_when_its_task_waits(
    request_of: dict[str, Any], error: Ignore, told: list[str]
) -> None:
    Own.told.clear()
    request = request_of["batched"]()
    try:
        raise error
    except Ignore:
        request.on_failure(ExceptionInfo(), return_ok=True)
    assert isinstance(request, Own)
    assert (Own.told, request.ended) == (told, 1)


def test_a_plain_task_keeps_its_own(request_of: dict[str, Any]) -> None:
    assert request_of["plain"] == f"{__name__}:Own"
