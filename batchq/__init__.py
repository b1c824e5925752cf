"""Batchq: one decorator sends the OpenAI calls of a Celery task through the Batch API."""

from batchq.account import Account, Limits
from batchq.beat import install
from batchq.body import gather, once
from batchq.dead import Dead, dead, retry
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
from batchq.run import live
from batchq.status import Status, status
from batchq.task import BatchedTask, batched_llm_task

__all__ = [
    "Account",
    "BatchedTask",
    "BatchqError",
    "CaptureSwallowed",
    "ConfigurationError",
    "Dead",
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
    "gather",
    "install",
    "live",
    "once",
    "retry",
    "status",
]
