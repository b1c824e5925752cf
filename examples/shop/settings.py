"""In a namespace, Batchq's settings carry it too: batchq_tick is CELERY_BATCHQ_TICK."""

import os
from datetime import timedelta

CELERY_BROKER_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
CELERY_RESULT_BACKEND = CELERY_BROKER_URL
# A result has to outlive the longest wait of those it is collected with.
CELERY_RESULT_EXPIRES = timedelta(days=3)

CELERY_BATCHQ_FLUSH_AFTER = float(os.environ.get("BATCHQ_FLUSH_AFTER", "900"))
CELERY_BATCHQ_TICK = float(os.environ.get("BATCHQ_TICK", "5"))
CELERY_BATCHQ_POLL_FIRST = float(os.environ.get("BATCHQ_POLL_FIRST", "5"))
