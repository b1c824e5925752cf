"""What the shop keeps."""

from django.db import models


class Ticket(models.Model):
    question = models.TextField()
    answer = models.TextField(default="")
    runs = models.IntegerField(default=0)
    mails = models.IntegerField(default=0)

    def __str__(self) -> str:
        return f"ticket {self.pk}: {self.runs} run, {self.mails} mail, {self.answer!r}"
