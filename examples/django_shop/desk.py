"""Who asks, and looks into the database for what came of it."""

import time

from django.db import transaction
from django_celery_beat.models import PeriodicTask
from django_celery_results.models import TaskResult

from examples.django_shop.models import Ticket
from examples.django_shop.tasks import answer


def ask_two() -> list[int]:
    """Nothing is asked before the tickets are there for the worker to see."""
    with transaction.atomic():
        tickets = [Ticket.objects.create(question=f"Where is parcel {n}?") for n in (1, 2)]
        for ticket in tickets:
            answer.delay_on_commit(ticket.pk)
    return [ticket.pk for ticket in tickets]


def wait_for(ids: list[int]) -> list[Ticket]:
    results = TaskResult.objects.filter(task_name=answer.name)
    told = Ticket.objects.filter(pk__in=ids, mails=1)
    seen: set[str] = set()
    while told.count() < len(ids) or results.exclude(status="SUCCESS").exists():
        seen |= set(results.values_list("status", flat=True))
        time.sleep(0.1)
    seen |= set(results.values_list("status", flat=True))
    names = PeriodicTask.objects.filter(name__startswith="batchq.", enabled=True)
    print("beat has", ", ".join(sorted(names.values_list("name", flat=True))))
    print("states seen:", ", ".join(sorted(seen)))
    return list(Ticket.objects.filter(pk__in=ids).order_by("pk"))
