"""The Celery app of the project."""

from celery import Celery

import batchq

app = Celery("shop")
# With Django: app.config_from_object("django.conf:settings", namespace="CELERY")
app.config_from_object("examples.shop.settings", namespace="CELERY")
app.autodiscover_tasks(["examples.shop"])
batchq.install(app)
