"""The Batches page: lanes and batches, now."""

from __future__ import annotations

import hashlib
from typing import Any

from batchq.flower import words
from batchq.flower.base import Page
from batchq.flower.overview import Choice, Chosen, Snapshot, choose
from batchq.flower.watch import watch_of

__all__ = ["PARTS", "Batches", "Live"]

PARTS = ("alerts", "strip", "lanes", "dead", "filters", "batches")
"""The parts of the page; each is a template, and is sent again when it has changed."""


class _Overview(Page):
    async def parts(self, *, fresh: bool = False) -> tuple[Snapshot, dict[str, str]]:
        """The parts of the page that the address asks for, as HTML."""
        choice = Choice.of(lambda name: self.get_query_argument(name, ""))
        snapshot = await watch_of(self.application, self.app).snapshot(fresh=fresh)
        chosen = await self.read(choose, snapshot, choice)
        return snapshot, {name: self._part(name, snapshot, chosen, choice) for name in PARTS}

    def _part(self, name: str, snapshot: Snapshot, chosen: Chosen, choice: Choice) -> str:
        def other(**changes: Any) -> str:
            return self.link(**choice.query(**changes))

        html = self.render_string(
            f"batchq/parts/{name}.html",
            snapshot=snapshot,
            status=snapshot.status,
            chosen=chosen,
            choice=choice,
            choose=other,
            words=words,
            shown_at=self.shown_at,
        )
        return html.decode()

    def shown_at(self, path: str) -> str:
        """The address of what a finding is of; empty where no page of ours has more of it."""
        kind, _, name = path.partition("/")
        match kind:
            case "dead":
                return "#batchq-dead"
            case "batch" | "task":
                return self.link(kind, name)
            case "lane" | "account":
                return self.link(**{kind: name})
            case _:
                return ""

    def digest(self, html: str) -> str:
        """Tells a part from what it was; the token in its forms is another each time."""
        return hashlib.sha256(html.replace(self._token, "").encode()).hexdigest()[:16]

    @property
    def _token(self) -> str:
        return self.xsrf_token.decode()


class Batches(_Overview):
    """Where everything is."""

    async def get(self) -> None:
        snapshot, parts = await self.parts()
        known = {name: (self.digest(html), html) for name, html in parts.items()}
        self.show("batches.html", now=snapshot.now, parts=known)


class Live(_Overview):
    """What has changed of the page: its parts whose digests the page does not name in ``have``."""

    async def get(self) -> None:
        fresh = bool(self.get_query_argument("fresh", ""))
        have = set(self.get_query_argument("have", "").split(","))
        snapshot, parts = await self.parts(fresh=fresh)
        changed = {
            name: {"digest": digest, "html": html}
            for name, html in parts.items()
            if (digest := self.digest(html)) not in have
        }
        self.answer({"now": snapshot.now, "parts": changed})
