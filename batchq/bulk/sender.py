"""Sends calls, many in one trip where the broker is a Redis, else one by one on one channel."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from celery.result import AsyncResult

from batchq.bulk.calls import Call, fresh_ids, runs
from batchq.bulk.template import Template, tag_of, template_of
from batchq.common.points import point
from batchq.common.seams.publishing import (
    Pile,
    calls_differ_by_arguments_alone,
    piled,
    piles_up,
    without_subscriptions,
)

__all__ = ["Sender", "sender"]

LARGE = 4_000_000
"""A pile of so many characters is sent, however few messages it is."""


@contextmanager
def sender(app: Any) -> Generator[Sender]:
    """What sends an app's calls, on one producer with one channel."""
    with ExitStack() as stack:
        producer = stack.enter_context(app.producer_or_acquire())
        pile = stack.enter_context(piled(producer)) if piles_up(producer) else None
        stack.enter_context(without_subscriptions(app))
        yield Sender(app, producer, pile)


class Sender:
    """``sent`` are the ids of those calls of the last `send` that are at the broker for sure."""

    def __init__(self, app: Any, producer: Any, pile: Pile | None) -> None:
        self._producer = producer
        self._pile = pile
        self._tags = fresh_ids()
        self._made: list[str] = []
        self.sent: list[str] = []
        retry = app.conf.task_publish_retry
        self._retry_policy = dict(app.conf.task_publish_retry_policy or {}) if retry else None
        self._most_shown = (app.amqp.argsrepr_maxsize, app.amqp.kwargsrepr_maxsize)

    def send(self, calls: Iterable[Call]) -> None:
        """Send them in their order. Where one is no call of its task, those before it are sent."""
        self.sent = []
        try:
            for alike in runs(calls):
                self._make(alike)
        finally:
            self._let_go()

    def _make(self, calls: Sequence[Call]) -> None:
        pile = self._pile
        template = None if pile is None else self._template(calls)
        if pile is None or template is None:
            for call in calls:
                self._apply(call)
            return
        form, key = template
        channel = self._producer.channel
        for call in calls:
            if call.task.typing:
                call.task.__header__(*call.args, **call.kwargs)
            pile.push(key, form.filled(call, channel, next(self._tags)))
            self._note_made(call)

    def _template(self, calls: Sequence[Call]) -> tuple[Template, str] | None:
        """The form of these calls, and the list they go to, where Celery makes the first and the
        last alike; None where Celery has to make all of them.
        """
        first, last = calls[0], calls[-1]
        if len(calls) < _WORTH_IT or not calls_differ_by_arguments_alone(
            first.task, self._producer
        ):
            return None
        try:
            (key, begin), (other, end) = map(self._made_by_celery, (first, last))
        except Exception:  # noqa: BLE001 it is raised when its turn comes
            return None
        found, check = self._form_of(first, begin), self._form_of(last, end)
        if found is None or check is None or key != other or not found.is_like(check):
            return None
        return found, key

    def _form_of(self, call: Call, message: str) -> Template | None:
        """The form of a message, where it gives that message back."""
        found = template_of(call, message, self._most_shown)
        if found is None:
            return None
        channel = self._producer.channel
        return found if found.filled(call, channel, tag_of(message)) == message else None

    def _made_by_celery(self, call: Call) -> tuple[str, str]:
        with piled(self._producer) as apart:
            self._publish(call)
        return apart.last

    def _apply(self, call: Call) -> None:
        self._publish(call)
        self._note_made(call)

    def _publish(self, call: Call) -> None:
        words = {"add_to_parent": False, **call.options, "task_id": call.task_id}
        result = call.task.apply_async(call.args, call.kwargs, producer=self._producer, **words)
        if isinstance(result, AsyncResult):
            # As it goes it would unsubscribe from what nobody has subscribed to.
            vars(result)["backend"] = None

    def _note_made(self, call: Call) -> None:
        self._made.append(call.task_id)
        if self._pile is None or self._pile.size >= LARGE:
            self._let_go()

    def _let_go(self) -> None:
        made, self._made = self._made, []
        if self._pile is not None and made:
            point("enqueue.publish")
            # If we die before these are noted, a second start sends them again: the claim of the
            # first delivery ends the second.
            self._pile.send(self._retry_policy)
            point("enqueue.published")
        self.sent += made


_WORTH_IT = 8
"""Of fewer calls than these, Celery has made the messages before the form of them is."""
