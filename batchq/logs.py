"""Logs: what the records of Batchq's loggers carry, and a formatter that writes it as JSON.

Every record of a ``batchq.*`` logger has an ``action``, one of `ACTIONS`, and the ids of what it is
about: ``task_id``, ``batch``, ``lane``, ``account``. None has the text of a prompt or an answer.

    handler = logging.StreamHandler()
    handler.setFormatter(batchq.logs.JsonFormatter())
    logging.getLogger("batchq").addHandler(handler)
"""

from __future__ import annotations

import json
import logging
import math
from datetime import UTC, datetime
from typing import Any

__all__ = ["ACTIONS", "JsonFormatter"]

ACTIONS = {
    "capture": "a task asks, waits, or is delivered once too often",
    "flush": "a lane is sealed, a batch is uploaded and created",
    "poll": "a batch is asked for",
    "fetch": "the files of a batch are read",
    "pause": "an account is paused, or goes on",
    "resume": "a task goes on",
    "rescue": "something is moved again that had stopped",
    "adopt": "what a lost journal has left at the provider",
    "revoke": "a task is revoked",
    "webhook": "what a provider calls with, and the server for it",
    "trace": "spans of OpenTelemetry",
    "measure": "metrics for Prometheus",
    "show": "the pages in Flower",
    "set-aside": "a batch whose steps died or failed, or whose rows are of no use",
    "sweep": "bodies outside of Redis that nobody needs any more",
    "put-off": "a step waits for a Redis, a broker or a provider that is away",
    "skip": "what is skipped because of somebody else's rubbish in Redis or in a message",
    "own-error": "an error in Batchq itself, with its frames",
    "renew": "the lease of a run or a step",
    "prolong": "what Celery keeps of a waiting task",
    "stand-in": "beat is away, or back",
    "check": "whether Redis is fit to keep the journal",
    "install": "Batchq on an app",
    "tell": "events and signals",
    "notify": "messages to webhooks and Apprise",
}
"""Each action with what its records are about."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, and whatever else
    a record was given with ``extra=`` that is a text, a number, a bool or None.

    It is of use for every logger, Celery's as well; what Celery logs of a task's result stands in
    its message.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _OWN and isinstance(value, (str, int, float, bool, type(None))):
                odd = isinstance(value, float) and not math.isfinite(value)
                line.setdefault(name, str(value) if odd else value)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, ensure_ascii=False)


_OWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"}
"""What every record has."""
