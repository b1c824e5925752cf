"""Django's settings, Celery's and Batchq's among them, in the namespace CELERY."""

import os
from datetime import timedelta

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only for this machine")
TIME_ZONE = "UTC"
USE_TZ = True
INSTALLED_APPS = ["django_celery_beat", "django_celery_results", "examples.django_shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
        # SQLite has one writer at a time: whoever writes waits at the start of the transaction.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The journal follows the broker, for the results are in no Redis.
CELERY_BROKER_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True  # So that their table has names and arguments.
CELERY_RESULT_EXPIRES = timedelta(days=4)
CELERY_RESULT_CHORD_RETRY_INTERVAL = 60
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# As the best known templates have them: a run is short, and Batchq's steps have their own.
CELERY_TASK_TIME_LIMIT = 5 * 60
CELERY_TASK_SOFT_TIME_LIMIT = 60

CELERY_BATCHQ_FLUSH_AFTER = float(os.environ.get("BATCHQ_FLUSH_AFTER", "900"))
CELERY_BATCHQ_TICK = float(os.environ.get("BATCHQ_TICK", "5"))
CELERY_BATCHQ_POLL_FIRST = float(os.environ.get("BATCHQ_POLL_FIRST", "5"))
