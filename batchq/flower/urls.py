"""Which page is where: the one list of Batchq's pages in Flower."""

from __future__ import annotations

from pathlib import Path

from tornado.routing import URLSpec
from tornado.web import StaticFileHandler, url

from batchq.flower.actions import Act
from batchq.flower.batches import Batches, Live
from batchq.flower.metrics import Metrics
from batchq.flower.pages import Charts, OneBatch, OneTask

__all__ = ["pages"]

STATIC = Path(__file__).with_name("static")


def pages() -> list[URLSpec]:
    """All pages, each with its name; Flower puts ``--url_prefix`` before them.

    Flower would drop what stands in a plain tuple behind the handler, so each is a `url`.
    """
    return [
        url(r"/batches", Batches, name="batchq-batches"),
        url(r"/batches/live", Live, name="batchq-live"),
        url(r"/batches/batch/([^/]+)", OneBatch, name="batchq-batch"),
        url(r"/batches/task/([^/]+)", OneTask, name="batchq-task"),
        url(r"/batches/charts", Charts, name="batchq-charts"),
        url(r"/batches/act/([a-z]+)", Act, name="batchq-act"),
        url(r"/metrics", Metrics, name="batchq-metrics"),
        url(r"/batches/static/(.+)", StaticFileHandler, {"path": STATIC}, name="batchq-static"),
    ]
