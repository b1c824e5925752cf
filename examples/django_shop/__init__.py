"""A Django project: its models, results and schedule in its database, its tasks sent on commit."""

from examples.django_shop.celery import app

__all__ = ["app"]
