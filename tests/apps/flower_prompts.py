"""The app that Flower shows in tests, of an operator who lets prompts be read."""

from __future__ import annotations

from tests.apps.base import make_app

app = make_app(
    "flower",
    batchq_accounts={"default": {"prices": "openai"}},
    batchq_show_prompts=True,
)
