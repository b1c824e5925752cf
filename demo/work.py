"""The chord that the demo sends, and how far it has come."""

import json
import os
import urllib.request
from typing import Any, cast

from celery import chord

import batchq
from demo.display import Numbers
from demo.tasks import app, classify, collect, embed, summarise
from demo.texts import Section


class Work:
    def __init__(self, sections: list[Section]) -> None:
        self.sections = sections
        self.paragraphs = [text for section in sections for text in section.paragraphs]
        self.tasks = len(self.paragraphs) + 2 * len(sections)
        # Each summary asks twice.
        self.prompts = self.tasks + len(sections)

    def send(self) -> None:
        questions = [
            *(classify.s(text) for text in self.paragraphs),
            *(summarise.s("\n\n".join(section.paragraphs)) for section in self.sections),
            *(embed.s(section.paragraphs) for section in self.sections),
        ]
        sent = chord(questions)(collect.s())
        self._id, self._group = sent.id, cast("Any", sent.parent).id

    def done(self) -> bool:
        return app.AsyncResult(self._id).ready()

    def numbers(self) -> Numbers:
        status = batchq.status(app)
        return Numbers(
            waiting=status.waiting,
            batched=status.batched,
            batches=len(status.batches),
            answered=status.answered,
            resolved=self.tasks if self.done() else self._resolved(),
            tasks=self.tasks,
            prompts=self.prompts,
        )

    def _resolved(self) -> int:
        """Celery's Redis backend keeps the results of an open chord in a sorted set."""
        backend = cast("Any", app.backend)
        return int(backend.client.zcard(backend.get_key_for_group(self._group, ".j")))

    def answers(self) -> tuple[list[str], list[str], list[list[list[float]]]]:
        """The labels of the paragraphs, the summaries and the vectors of the sections."""
        result = app.AsyncResult(self._id)
        result.maybe_throw()
        answers = cast("list[Any]", result.result)
        labels, rest = answers[: len(self.paragraphs)], answers[len(self.paragraphs) :]
        return labels, rest[: len(self.sections)], rest[len(self.sections) :]


def ledger() -> dict[str, Any]:
    """What the emulator would have charged."""
    address = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
    with urllib.request.urlopen(f"{address}/emulator/ledger?summary=1") as response:  # noqa: S310
        return cast("dict[str, Any]", json.load(response))
