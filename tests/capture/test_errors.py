"""Errors of a captured call travel: by pickle, and through Celery's results as JSON."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from openai import OpenAIError

from batchq import errors
from batchq.capture.http.twins import as_openai_error
from tests.capture.bench import Bench

RAISED: list[errors.BatchqError] = [
    errors.NotBatchable("task", "GET /v1/models", "this endpoint has no batch"),
    errors.PromptTooLarge("task", "/v1/embeddings", "inputs", 60_000, 50_000),
    errors.RequestChanged("task", "id", 3, "/v1/responses", "m"),
    errors.RunEnded("task", "id", "/v1/responses"),
    errors.ThreadWithoutRun("/v1/responses"),
    errors.CaptureSwallowed("task", "id", "shop.classify, line 3"),
    errors.UnknownAccount("https://llm.example.com/v1", "no account has it", ["a", "b"]),
    errors.ConfigurationError("batchq_tick", "0", "accepted is more", "batchq_tick"),
]


@pytest.mark.parametrize("plain", RAISED, ids=lambda error: type(error).__name__)
def test_an_error_is_the_sdks_and_ours_and_travels(bench: Bench, plain: Any) -> None:
    error: Any = as_openai_error(plain)
    assert isinstance(error, OpenAIError)
    assert isinstance(error, type(plain))
    assert type(error) is type(as_openai_error(plain))
    backend: Any = bench.app.backend
    stored = json.loads(json.dumps(backend.prepare_exception(error, serializer="json")))
    travelled = [
        pickle.loads(pickle.dumps(error)),  # noqa: S301 our own
        pickle.loads(pickle.dumps(plain)),  # noqa: S301 our own
        copy.copy(error),
        backend.exception_to_python(stored),
    ]
    for arrived in travelled:
        assert type(arrived) is type(plain)
        assert arrived.args == plain.args
        assert vars(arrived) == vars(plain)
        assert str(arrived) == str(error) == str(plain)
