"""A Celery app for tests: the settings of a hurried user, on this test's Redis and emulator.

How soon something is looked at again is hurried; how long it may take, before it counts as late or
lost, is as in production. A test that waits for that moves the clock (`Stack.advance`).
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

import batchq

FAST = {
    "broker_connection_retry_on_startup": True,
    "worker_prefetch_multiplier": 1,
    "batchq_flush_after": 0,
    "batchq_tick": 0.8,
    "batchq_poll_first": 0.2,
    "batchq_poll_longest": 1,
}


def make_app(name: str, **settings: Any) -> Celery[Any]:
    app: Celery[Any] = Celery(name, set_as_current=False)
    app.conf.update(
        FAST,
        broker_url=os.environ["REDIS_URL"],
        result_backend=os.environ["REDIS_URL"],
    )
    app.conf.update(settings)
    return batchq.install(app)


def alone(app: Celery[Any], *own: str) -> Celery[Any]:
    """The app with its ``own`` tasks, Celery's and Batchq's, and without those of all other apps of
    this process, which Celery gives it: what is said of its tasks would be said of those too.
    """
    app.finalize()
    for name in [one for one in app.tasks if not one.startswith(("celery.", "batchq."))]:
        if name not in own:
            app.tasks.unregister(name)
    return app
