"""An app that is set up as wrongly as it goes while its settings are still read."""

from __future__ import annotations

import os

from batchq import batched_llm_task
from tests.apps.base import make_app

app = make_app(
    "broken",
    batchq_accounts={
        "default": {"api_key": "env:NOBODY_SET_THIS"},
        "refused": {},
        "away": {"base_url": "http://127.0.0.1:1/v1"},
    },
    batchq_tick=5,
    batchq_flush_after=None,
    batchq_batch_deadline=20 * 3600,
    batchq_keep_journal=21 * 3600,
    batchq_encryption="env:NOBODY_SET_THIS_EITHER",
    batchq_budget=0.000001,
    batchq_large_bodies="/nowhere/at/all",
    result_expires=30,
    broker_transport_options={"visibility_timeout": 20},
    task_acks_late=True,
    task_time_limit=600,
    task_always_eager=True,
    task_annotations={"*": {"rate_limit": "10/m"}},
    task_soft_time_limit=3,
    worker_prefetch_multiplier=0,
    accept_content=["pickle"],
    **({"batchq_key_prefix": prefix} if (prefix := os.environ.get("BROKEN_PREFIX")) else {}),
)


@app.task
@batched_llm_task
def ask(text: str) -> str:
    return text


app.finalize()
# As a module does that sets it later than Batchq: its entries are gone.
app.conf.beat_schedule = {}
