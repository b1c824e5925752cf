"""Compatible servers have other words for what a batch is.

`succeeded` counted as not over: such a batch was cancelled after 26 hours, with all its answers.
"""

from __future__ import annotations

from typing import Any

import pytest

from batchq.provider.parse import parse_batch


def status(word: Any, **more: Any) -> str:
    return parse_batch({"id": "batch_1", "status": word, **more}).status


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("queued", "validating"),
        ("scheduling", "validating"),
        ("running", "in_progress"),
        ("succeeded", "completed"),
        ("Succeeded", "completed"),
        ("canceling", "cancelling"),
        ("canceled", "cancelled"),
        ("completed", "completed"),
    ],
)
def test_a_known_word_means_what_openai_calls_otherwise(word: str, means: str) -> None:
    assert status(word) == means


COUNTS = {"total": 3, "completed": 2, "failed": 1}


def test_an_unknown_word_is_an_end_where_every_line_was_run_and_a_file_is_there() -> None:
    assert status("wound up", request_counts=COUNTS, output_file_id="file-1") == "completed"
    assert status("wound up", request_counts=COUNTS, error_file_id="file-1") == "completed"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"request_counts": COUNTS},
        {"output_file_id": "file-1"},
        {"request_counts": COUNTS | {"completed": 1}, "output_file_id": "file-1"},
        {"request_counts": dict.fromkeys(COUNTS, 0), "output_file_id": "file-1"},
        {"request_counts": COUNTS, "output_file_id": ""},
        {"request_counts": "all", "output_file_id": "file-1"},
    ],
)
def test_else_it_is_waited_for(more: dict[str, Any]) -> None:
    assert status("wound up", **more) == "wound up"


def test_a_word_of_openai_s_is_believed() -> None:
    """Its files may be written before its status says so."""
    known = {"request_counts": COUNTS, "output_file_id": "file-1"}
    assert status("finalizing", **known) == "finalizing"
    assert status("cancelling", **known) == "cancelling"
