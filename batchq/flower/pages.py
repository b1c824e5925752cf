"""The pages of one batch and of one task, and the charts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from batchq.errors import NotFound
from batchq.flower import words
from batchq.flower.base import Page
from batchq.flower.one_batch import read_batch
from batchq.flower.one_task import read_task, state_in_celery
from batchq.flower.seams import tasks_known
from batchq.flower.trends import PASTS, Past, Trends, read_trends
from batchq.flower.watch import watch_of
from batchq.journal import journal_of

__all__ = ["Charts", "OneBatch", "OneTask"]


class _Detail(Page):
    """A page about one thing, by its id."""

    def get_template_namespace(self) -> dict[str, Any]:
        known = {
            "words": words,
            "clock": self.clock,
            "zone": datetime.now(self.app.timezone).tzname(),
            "call_link": self.call_link,
        }
        return super().get_template_namespace() | known

    def clock(self, milliseconds: int) -> str:
        """A time in the zone of the app, as Flower's own pages have it."""
        return words.moment(milliseconds, self.app.timezone)

    def call_link(self, task_id: str, number: int | None = None) -> str:
        """The address of a task's page, at one of its calls."""
        if number is None:
            return self.link("task", task_id)
        return f"{self.link('task', task_id, call=str(number))}#call-{number}"

    def number_in_query(self, name: str) -> int | None:
        """A number in the address; None where there is none, or something else."""
        given = self.get_query_argument(name, "")
        return int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else None

    @property
    def page_number(self) -> int:
        return self.number_in_query("page") or 1

    def missing(self, what: str, name: str, *hints: str, state: str = "") -> None:
        self.set_status(404)
        self.show("missing.html", what=what, name=name, hints=hints, state=state)


class OneBatch(_Detail):
    """Everything about one batch."""

    async def get(self, batch_id: str) -> None:
        try:
            found = await self.read(read_batch, self.app, batch_id, page=self.page_number)
        except NotFound:
            kept = words.span(self.settings_of_app.keep_batches)
            hint = f"A batch that is over is shown for batchq_keep_batches ({kept})."
            self.missing("batch", batch_id, hint)
            return
        if found.is_open:
            snapshot = await watch_of(self.application, self.app).snapshot()
            found = found.expecting(snapshot.turnarounds)
        ids = [prompt.task_id for prompt in found.prompts]
        self.show("batch.html", batch=found, in_flower=tasks_known(self.application, ids))


class OneTask(_Detail):
    """The journal of one task."""

    async def get(self, task_id: str) -> None:
        texts = self.settings_of_app.show_prompts
        try:
            found = await self.read(
                read_task,
                self.app,
                task_id,
                page=self.page_number,
                call=self.number_in_query("call"),
                texts=texts,
            )
        except NotFound:
            await self._unknown(task_id)
            return
        known = tasks_known(self.application, [task_id])
        self.show("task.html", task=found, texts=texts, in_flower=known)

    async def _unknown(self, task_id: str) -> None:
        kept = words.span(self.settings_of_app.keep_done)
        self.missing(
            "task",
            task_id,
            "It may not have asked anything yet: a task is here from its first batched call on.",
            f"Once it has ended it is here for batchq_keep_done ({kept}) more.",
            state=await self.read(state_in_celery, self.app, task_id),
        )


class Charts(_Detail):
    """What happened over time."""

    async def get(self) -> None:
        past = PASTS.get(self.get_query_argument("past", ""), PASTS["24h"])
        self.show("charts.html", trends=await self.read(_trends, self, past))


def _trends(page: Page, past: Past) -> Trends:
    return read_trends(journal_of(page.app), page.settings_of_app, past, page.app.timezone)
