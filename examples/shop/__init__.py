"""A project laid out as Django's are: the app in celery.py, its settings in a namespace."""

from examples.shop.celery import app

__all__ = ["app"]
