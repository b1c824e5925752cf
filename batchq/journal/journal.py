"""The journal, put together of what it is about."""

from __future__ import annotations

from batchq.journal.adoption import Adoption
from batchq.journal.answers import Answers
from batchq.journal.batches import Batches
from batchq.journal.beat import Beat
from batchq.journal.bodies import Bodies
from batchq.journal.chords import Chords
from batchq.journal.enqueued import Enqueued
from batchq.journal.events import EventLog
from batchq.journal.heads import Heads
from batchq.journal.lanes import Lanes
from batchq.journal.lines import Lines
from batchq.journal.own_errors import OwnErrors
from batchq.journal.pauses import Pauses
from batchq.journal.resuming import Resuming
from batchq.journal.revocations import Revocations
from batchq.journal.runs import Runs
from batchq.journal.store import Store
from batchq.journal.tallies import Tallies
from batchq.journal.tasks import Tasks
from batchq.journal.views import Views
from batchq.journal.waiting import Waiting
from batchq.journal.webhooks import Webhooks

__all__ = ["Journal"]


class Journal:
    """All that is written to Redis, by what it is about. Safe to share between threads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = self.store.clock
        self.bodies = Bodies(store)
        self.tallies = Tallies(store)
        self.pauses = Pauses(store)
        self.adoption = Adoption(store)
        self.answers = Answers(store)
        self.waiting = Waiting(store)
        self.runs = Runs(store, self.bodies)
        self.tasks = Tasks(store, self.bodies)
        self.resuming = Resuming(store)
        self.batches = Batches(store, self.tallies)
        self.lines = Lines(store, self.bodies, self.answers)
        self.lanes = Lanes(store, self.batches, self.answers, self.adoption, self.pauses)
        self.heads = Heads(store)
        self.chords = Chords(store, self.runs)
        self.revocations = Revocations(store, self.bodies, self.waiting)
        self.enqueued = Enqueued(store)
        self.events = EventLog(store)
        self.beat = Beat(store)
        self.webhooks = Webhooks(store)
        self.own_errors = OwnErrors(store)
        self.views = Views(store, self.bodies)
