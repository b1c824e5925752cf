"""Celery's retries: which of them pay for a new answer, and which get the old one again."""

from typing import Literal

from celery import Celery, Task
from openai import OpenAI
from pydantic import BaseModel

import batchq
from batchq import batched_llm_task

app = Celery("examples.retries")
app.config_from_object("celeryconfig")
batchq.install(app)

client = OpenAI()


class NotOneWord(Exception):
    """The answer was bad: ask again."""


class Mood(BaseModel):
    mood: Literal["positive", "negative"]


@app.task(bind=True, autoretry_for=(NotOneWord, ConnectionError), default_retry_delay=0)
@batched_llm_task(ask_again_on=NotOneWord)
def mood(self: Task, review: str) -> str:
    ask = [{"role": "user", "content": f"In one word, positive or negative? {review}"}]
    if self.request.retries == 0:
        completion = client.chat.completions.create(model="gpt-5.6-luna", messages=ask)
        word = completion.choices[0].message.content or ""
        if len(word.split()) != 1:
            raise NotOneWord(word)  # The retry asks anew, in the next batch.
    else:
        parsed = client.chat.completions.parse(
            model="gpt-5.6-luna", messages=ask, response_format=Mood
        )
        word = parsed.choices[0].message.parsed.mood
    if self.request.retries == 1:
        raise ConnectionError("the database")  # The retry gets the answer that was paid for.
    return word


if __name__ == "__main__":
    print(mood.delay("I love it, and I will buy it again.").get(timeout=600))
