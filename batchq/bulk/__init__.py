"""A million calls from one process: sent many at a time, in the memory of a few."""

from batchq.bulk.enqueue import add_method, enqueue
from batchq.bulk.handle import Enqueued, Finished

__all__ = ["Enqueued", "Finished", "add_method", "enqueue"]
