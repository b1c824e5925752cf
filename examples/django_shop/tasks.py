"""Tasks whose writes are kept only together with an answer."""

from functools import partial

from celery import shared_task
from django.db import transaction
from django.db.models import F
from openai import OpenAI

from batchq import batched_llm_task
from examples.django_shop.models import Ticket

client = OpenAI()


@batched_llm_task
def answer(ticket_id: int) -> str:
    # A run ends at its question, and its transaction is rolled back there: of all that is written
    # in here, what the last run writes is kept, with the answer.
    with transaction.atomic():
        ticket = Ticket.objects.get(pk=ticket_id)
        ticket.runs += 1
        ticket.save()
        completion = client.chat.completions.create(
            model="gpt-5.6-luna", messages=[{"role": "user", "content": ticket.question}]
        )
        ticket.answer = completion.choices[0].message.content or ""
        ticket.save()
        transaction.on_commit(partial(send_mail.delay, ticket_id))
    return ticket.answer


@shared_task
def send_mail(ticket_id: int) -> None:
    Ticket.objects.filter(pk=ticket_id).update(mails=F("mails") + 1)
