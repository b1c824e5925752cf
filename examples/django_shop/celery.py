"""The Celery app of the project, as Celery's guide for Django has it, and one line more."""

import os

from celery import Celery

import batchq

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django_shop.settings")

app = Celery("django_shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
batchq.install(app)
