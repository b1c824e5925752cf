"""Webhooks: the provider says that a batch is over, so that nobody waits for the next poll."""

from batchq.webhook.mount import wsgi
from batchq.webhook.receive import LARGEST, Answer, handle

__all__ = ["LARGEST", "Answer", "handle", "wsgi"]
