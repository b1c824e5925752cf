"""Lanes come and go with their prompts."""

from __future__ import annotations

from typing import Any

from celery import Celery

import batchq
from batchq.flow.flush import flush
from batchq.journal import journal_of
from tests.journals import LANE, capture, outcome


def test_a_lane_that_late_answers_emptied_is_not_listed_for_ever(redis_url: str) -> None:
    """An answer for a prompt that waited again took it out of its lane, and the name stayed.

    Every tick then looked at a lane that held nothing, and so did everybody who asked for status.
    """
    app: Celery[Any] = Celery("lanes", broker=redis_url, set_as_current=False)
    journal = journal_of(batchq.install(app))
    asked = capture(journal)
    assert journal.answers.add(LANE, [(asked.custom_ids[0], outcome())]) == ["READY"]
    assert [lane.prompts for lane in journal.lanes.all()] == [0]
    flush(app)
    assert journal.lanes.all() == []
    assert journal.batches.open() == []
