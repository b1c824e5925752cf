"""A reusable app's tasks: `@shared_task`, whatever app they end up on."""

from celery import shared_task
from openai import OpenAI

import batchq
from batchq import batched_llm_task

SENT: list[str] = []  # stands for a mail server

client = OpenAI()


@shared_task
@batched_llm_task
def answer(question: str) -> str:
    # A read: it may run twice.
    manual = "Refunds take five days." if "refund" in question else "Ask us."
    # A write before the last call: it must not, so it runs within `once`.
    number = batchq.once(open_ticket, question)
    completion = client.chat.completions.create(
        model="gpt-5.6-luna",
        messages=[{"role": "user", "content": f"Answer this from {manual!r}: {question}"}],
    )
    # A write after the last call: this line is reached once.
    SENT.append(completion.choices[0].message.content or "")
    return f"ticket {number}, {len(SENT)} mail"


def open_ticket(question: str) -> int:
    SENT.clear()
    return len(question)
