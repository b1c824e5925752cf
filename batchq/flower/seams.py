"""What Batchq uses of Flower that Flower does not promise to keep, all in one place.

tests/flower/test_seams.py holds each of them against the installed release.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery.states import REVOKED
from tornado.routing import URLSpec
from tornado.template import Loader, Template
from tornado.web import RequestHandler

from batchq.common.seams.results import rank_state

__all__ = [
    "PATCHES",
    "TEMPLATES",
    "FlowerHandler",
    "FlowerMetrics",
    "Overlay",
    "add",
    "tasks_known",
]

logger = logging.getLogger("batchq.flower")

BATCHED = "BATCHED"
TEMPLATES = Path(__file__).with_name("templates")

if TYPE_CHECKING:

    class FlowerHandler(RequestHandler):
        """Flower's own handler: it knows who is there, and its templates' helpers."""

        @property
        def capp(self) -> Any: ...

        @property
        def unauthenticated_api(self) -> bool: ...

        # Tornado's own type is not complete.
        def finish(self, chunk: Any = None) -> Any: ...

    class FlowerMetrics(FlowerHandler):
        """Flower's page of metrics: all that the client's own registry has."""

        async def get(self) -> None: ...

else:
    from flower.views import BaseHandler as FlowerHandler
    from flower.views.monitor import Metrics as FlowerMetrics


def add(pages: Iterable[URLSpec]) -> None:
    """Let Flower serve these pages, and show in its own that there are batches."""
    urls: Any = importlib.import_module("flower.urls")
    known = {getattr(handler, "name", None) for handler in urls.handlers}
    # Before Flower's last one, which takes all that nobody else does.
    urls.handlers[0:0] = [page for page in pages if page.name not in known]
    if not isinstance(urls.settings.get("template_loader"), Overlay):
        urls.settings["template_loader"] = Overlay(urls.settings["template_path"])
    # Flower shows the highest state it has heard of a task.
    rank_state(BATCHED, after=REVOKED)


class Overlay(Loader):
    """Flower's templates with our additions, and our own."""

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:  # noqa: ARG002 Tornado's own
        return name

    def _create_template(self, name: str) -> Template:
        own = TEMPLATES / name
        path = own if own.is_file() else Path(self.root, name)
        text = path.read_text(encoding="utf-8")
        for patch in PATCHES.get(name, ()):
            text = patch(text, name)
        return Template(text, name=name, loader=self)


def _before(anchor: str, addition: str) -> Callable[[str, str], str]:
    """Put something into a template before the first ``anchor``."""

    def patch(text: str, name: str) -> str:
        head, found, tail = text.partition(anchor)
        if not found:
            # Flower has changed: its page stays as it is.
            logger.warning(
                "Flower's %s is not what it was, so a part of Batchq is not in it",
                name,
                extra={"action": "show"},
            )
            return text
        return head + addition + found + tail

    return patch


_NAV = """\
        <li class="nav-item">
          <a class="nav-link{% if active_tab == 'batches' %} active{% end %}"
            href="{{ reverse_url('batchq-batches') }}"
            {% if active_tab == 'batches' %}aria-current="page"{% end %}>Batches</a>
        </li>
      """

_CSS = """\
  <link rel="stylesheet" href="{{ reverse_url('batchq-static', 'batchq.css') }}">
  """

_SCRIPT = """\
<script src="{{ reverse_url('batchq-static', 'batchq.js') }}"></script>

    """

_FILTER = """\
<button class="task-state-filter" type="button" data-task-state="BATCHED" \
aria-pressed="false">Batched</button>
    """

_BADGE = """\
{% elif task.state == "BATCHED" %}
          <span class="badge batchq-batched">{{ task.state }}</span>
          """

_DETAILS = """\
{% module Template("batchq/of_task.html", task=task) %}
      """

PATCHES: dict[str, tuple[Callable[[str, str], str], ...]] = {
    "navbar.html": (_before("</ul>", _NAV),),
    "base.html": (
        _before("</head>", _CSS),
        _before("{% block extra_scripts %}", _SCRIPT),
    ),
    "tasks.html": (
        _before(
            '<button class="task-state-filter" type="button" data-task-state="SUCCESS"', _FILTER
        ),
    ),
    "task.html": (
        _before('{% elif task.state == "RETRY" %}', _BADGE),
        _before("{% if not read_only %}", _DETAILS),
    ),
}


def options_of(application: Any) -> Any:
    """What Flower was started with."""
    return application.options


def tasks_known(application: Any, task_ids: Iterable[str]) -> frozenset[str]:
    """Those of some tasks that Flower has a page of: it has heard of them since it began."""
    known: Any = application.events.state.tasks
    return frozenset(task_id for task_id in task_ids if task_id in known)
