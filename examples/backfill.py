"""A CSV of any length in, a JSONL of answers out. Stop it and start it again: it goes on."""

import csv
import json
import sys
from pathlib import Path

from celery import Celery
from openai import OpenAI

import batchq
from batchq import batched_llm_task

app = Celery("examples.backfill")
app.config_from_object("celeryconfig")
# For so long a row that has ended is known, and its answer can be read.
app.conf.result_expires = app.conf.batchq_keep_done = 7 * 24 * 3600
batchq.install(app)

client = OpenAI()


# Made a task by it, and not by @app.task, type checkers know of classify.enqueue.
@batched_llm_task(app=app)
def classify(row: dict[str, str]) -> dict[str, str]:
    completion = client.chat.completions.create(
        model="gpt-5.6-luna",
        messages=[{"role": "user", "content": f"Which team is this for? {row['text']}"}],
    )
    return {"id": row["id"], "team": completion.choices[0].message.content or ""}


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    with source.open(newline="") as rows, target.open("w") as answers:
        found = classify.enqueue(csv.DictReader(rows), key=lambda row: row["id"])
        print(f"{found.sent} sent, {len(found) - found.sent} were known")
        for ended in found:
            failed = {"row": ended.row, "error": repr(ended.result)}
            line = ended.result if ended.state == "SUCCESS" else failed
            answers.write(json.dumps(line) + "\n")
