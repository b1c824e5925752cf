"""What an operator does, as POSTs: ``/batches/act/<verb>`` with a ``name`` in its body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tornado.web import HTTPError

from batchq import control
from batchq.errors import NotFound
from batchq.flower.base import Action

__all__ = ["Act"]


class Act(Action):
    """Does one thing, and says what came of it."""

    async def post(self, verb: str) -> None:
        act = ACTIONS.get(verb)
        if act is None:
            raise HTTPError(404)
        name = self.get_body_argument("name", "")
        self.say(await self.read(act, self.app, name))


def flush(app: Any, name: str) -> str:
    if not name:
        control.flush(app)
        return "All that waits is on its way into batches; lanes that are held wait."
    lane = control.lane_named(app, name)
    control.flush(app, lane)
    return f"What waits in {lane.name} is on its way into batches."


def hold(app: Any, name: str) -> str:
    lane = control.lane_named(app, name)
    if control.hold(app, lane):
        return f"{lane.name} is held: nothing leaves it until it is released."
    return f"{lane.name} was held already."


def release(app: Any, name: str) -> str:
    lane = control.lane_named(app, name)
    if control.release(app, lane):
        return f"{lane.name} is released."
    return f"{lane.name} was not held."


def cancel(app: Any, name: str) -> str:
    if control.cancel(app, name) == "ASKED":
        return (
            f"Batch {name} is being cancelled. What it has not answered goes back to its lane, "
            "which is held until you release it."
        )
    return f"Batch {name} had ended already."


def retry(app: Any, name: str) -> str:
    if control.retry(app, name):
        return f"{name} is tried again."
    raise NotFound("dead task or batch", name)


def revoke(app: Any, name: str) -> str:
    control.revoke(app, name)
    return f"Task {name} is revoked; the workers end it at once where it waits."


Did = Callable[[Any, str], str]

ACTIONS: dict[str, Did] = {
    "cancel": cancel,
    "flush": flush,
    "hold": hold,
    "release": release,
    "retry": retry,
    "revoke": revoke,
}
"""What each verb does to the lane, batch or task of a name; it returns what came of it."""
