"""A chord whose member has its result, and nobody to tell the chord."""

from __future__ import annotations

from typing import Any, cast

import pytest
from celery import chord

from tests.harness import Stack, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

APP = "tests.apps.parts"


def test_a_chord_ends_though_a_member_s_worker_died_before_it_told(stack: Stack) -> None:
    """The result was stored, so rescue let the task go, and Celery's second delivery was refused.

    The chord waited for that member for good.
    """
    from tests.apps import parts

    worker = stack.worker(APP)
    stack.beat(APP)
    sent: Any = cast("Any", chord([parts.say.s("one"), parts.say.s("two")]))(parts.collect.s())
    wait_until(lambda: worker.exit_code is not None, description="the worker has died")
    stack.worker(APP)
    assert sent.get(timeout=30) == 2
    wait_until(
        lambda: not stack.redis.zcard("{batchq}:resuming"), description="nothing is on its way"
    )
