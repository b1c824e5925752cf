"""Celery's retries: which of them pay for a new answer, and which get the old one again."""

from typing import Any

from celery import Celery
from openai import OpenAI

import batchq
from batchq import batched_llm_task

app = Celery("examples.retries")
app.config_from_object("celeryconfig")
batchq.install(app)

client = OpenAI()


class TooLong(Exception):
    """The answer is bad: it should be one word."""


@app.task(bind=True, autoretry_for=(TooLong, ConnectionError), default_retry_delay=0)
@batched_llm_task(ask_again_on=TooLong)
def mood(self: Any, review: str) -> str:
    retries = self.request.retries
    question = "Its mood?" if retries == 0 else "Answer with one of: positive, negative."
    completion = client.chat.completions.create(
        model="gpt-5.6-luna",
        messages=[
            {"role": "system", "content": question},
            {"role": "user", "content": review},
        ],
    )
    answer = completion.choices[0].message.content or ""
    if " " in answer:
        raise TooLong(answer)  # A bad answer: the retry asks anew, in the next batch.
    if retries == 1:
        raise ConnectionError("the database")  # The next run gets this answer again, for free.
    return answer


if __name__ == "__main__":
    print(mood.delay("I love it, and I will buy it again.").get(timeout=600))
