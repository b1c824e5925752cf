"""Batchq: one decorator sends the OpenAI calls of a Celery task through the Batch API."""

from batchq.bulk import Enqueued, Finished, enqueue
from batchq.capture.run import live
from batchq.capture.steps import gather, once
from batchq.control import retry
from batchq.errors import (
    BatchqError,
    CaptureSwallowed,
    ConfigurationError,
    JournalUnreadable,
    KeyMissing,
    KnownRefusal,
    NotBatchable,
    PromptError,
    PromptTooLarge,
    ProviderError,
    ProviderNotFound,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnauthorized,
    ProviderUnclear,
    RequestChanged,
    RunEnded,
    StepNotJournaled,
    StorageAway,
    ThreadWithoutRun,
    UnknownAccount,
    WorkersKilled,
)
from batchq.installation import install
from batchq.overview import Dead, Status, dead, status
from batchq.settings.account import Account
from batchq.settings.limits import Limits
from batchq.task import BatchedTask, batched_llm_task

__all__ = [
    "Account",
    "BatchedTask",
    "BatchqError",
    "CaptureSwallowed",
    "ConfigurationError",
    "Dead",
    "Enqueued",
    "Finished",
    "JournalUnreadable",
    "KeyMissing",
    "KnownRefusal",
    "Limits",
    "NotBatchable",
    "PromptError",
    "PromptTooLarge",
    "ProviderError",
    "ProviderNotFound",
    "ProviderRefused",
    "ProviderThrottled",
    "ProviderUnauthorized",
    "ProviderUnclear",
    "RequestChanged",
    "RunEnded",
    "Status",
    "StepNotJournaled",
    "StorageAway",
    "ThreadWithoutRun",
    "UnknownAccount",
    "WorkersKilled",
    "batched_llm_task",
    "dead",
    "enqueue",
    "gather",
    "install",
    "live",
    "once",
    "retry",
    "status",
]
