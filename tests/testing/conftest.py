from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

import batchq

#: Nobody listens there: what would connect fails.
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def app() -> Iterator[Any]:
    """An app as its users have it, whose broker and backend cannot be reached."""
    app: Any = Celery("tested", broker=NOWHERE, backend=NOWHERE, set_as_current=False)
    app.conf.broker_connection_retry = False
    yield batchq.install(app)
    app.close()
