"""The step of the journey that tells: a Celery task, and its message is a receiver's number.

How far a receiver has been told is in the journal, and moves on once it has taken a message: who
dies before that lets the same be posted again. While a receiver is away what happens is gathered,
for its next message.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import redis

from batchq.events import Event
from batchq.journal import Journal, journal_of
from batchq.notify.post import NotTold
from batchq.notify.receivers import Receiver, receivers
from batchq.notify.words import message
from batchq.settings.config import settings

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["RETRIES", "begin", "due", "notify"]

logger = logging.getLogger("batchq.notify")

_EVENTS = 1000

_AT_IT = timedelta(minutes=2)
"""For how long nobody else tells a receiver: longer than a try and the pause behind it."""


def begin(app: Celery[Any]) -> None:
    """Let everybody be told of what happens from now on, where nobody was told before.

    Raises ConfigurationError where the setting is wrong.
    """
    for number, _ in enumerate(receivers(app), 1):
        try:
            journal_of(app).events.notified(number)
        except redis.RedisError:
            return  # It begins at the first tick.


def due(app: Celery[Any]) -> list[int]:
    """The receivers for whom there is news, and whom nobody tells just now."""
    journal = journal_of(app)
    known = enumerate(receivers(app), 1)
    return [number for number, receiver in known if _is_due(journal, number, receiver)]


def _is_due(journal: Journal, number: int, receiver: Receiver) -> bool:
    news = _news(journal, number)
    if any(map(receiver.wants, news)):
        return journal.events.first_told(_telling(number), for_=_AT_IT)
    if news:
        # Nobody is at it: there was nothing to tell.
        journal.events.note_notified(number, news[-1].id)
    return False


def notify(app: Celery[Any], number: int) -> None:
    """Tell one receiver, in one message, what has happened since it was last told.

    Raises NotTold where it is to be tried again.
    """
    journal, known = journal_of(app), receivers(app)
    if number > len(known):
        return  # It was taken out of the settings; or this worker has not got them yet.
    receiver, news = known[number - 1], _news(journal, number)
    wanted = list(filter(receiver.wants, news))
    if not wanted:
        return  # A message that came twice.
    try:
        receiver.post(message(wanted, _name(app)))
    except NotTold as error:
        _say_failed(number, error)
        if not error.refused:
            journal.events.note_told(_telling(number), for_=_AT_IT)
            raise
    journal.events.note_notified(number, news[-1].id)
    # What happens meanwhile is gathered: services refuse more than a message a second.
    journal.events.note_told(_telling(number), for_=2 * settings(app).tick)


def _give_up(task: Any, error: Exception, _id: str, args: tuple[int], *_: object) -> None:
    """The last try has failed as well: say what is not told, and go on behind it."""
    (number,), app = args, task.app
    journal = journal_of(app)
    # Any other error is one of ours, and Celery has logged it.
    news = _news(journal, number) if isinstance(error, NotTold) else []
    if news:
        wanted = list(filter(receivers(app)[number - 1].wants, news))
        logger.error(
            "receiver %d of notices has taken nothing for an hour, and is not told any more: %s",
            *(number, message(wanted, _name(app)).replace("\n", " ")),
            extra={"action": "notify"},
        )
        journal.events.note_notified(number, news[-1].id)


RETRIES: dict[str, Any] = {
    "autoretry_for": (NotTold,),
    # After 1, 2, 4, 8 and 16 seconds, then each half a minute: a Redis broker delivers twice what
    # is held for longer than its visibility timeout. All together that is an hour.
    "retry_backoff": 1,
    "retry_backoff_max": 30,
    "retry_jitter": False,
    "max_retries": 120,
    "on_failure": _give_up,
    "throws": (NotTold,),
    # One that drips its answer has no more time than one that is silent.
    "soft_time_limit": 30,
    "time_limit": 60,
}
"""What holds for the task `notify`, beside what holds for all steps."""


def _news(journal: Journal, number: int) -> list[Event]:
    return journal.events.read(after=journal.events.notified(number), count=_EVENTS)


def _telling(number: int) -> str:
    return f"notify:{number}"


def _name(app: Celery[Any]) -> str:
    return str(app.main or "batchq")


def _say_failed(number: int, error: NotTold) -> None:
    what = "has refused a message, which is dropped" if error.refused else "is not told yet"
    logger.warning(
        "receiver %d of notices %s (%s)",
        *(number, what, error.why),
        extra={"action": "notify"},
    )
