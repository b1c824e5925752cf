"""An app that nobody has given to `batchq.install`."""

from __future__ import annotations

import os

from celery import Celery

app: Celery = Celery("plain", broker=os.environ["REDIS_URL"], set_as_current=False)
