"""What a batched body sees and does not see of its capture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.capture.bench import MODEL, Bench, ask, user

# The SDK's own default: it would try a failed call twice more.
client = OpenAI(max_retries=2)


class Note(BaseModel):
    title: str
    lines: list[str]


def test_the_capture_is_not_seen_by_except_exception(bench: Bench) -> None:
    """Bodies that catch everything around a call are common; the capture must pass through them."""
    seen: list[str] = []

    @bench.task
    def careful(text: str) -> str:
        try:
            return ask(client, text)
        except Exception as error:  # noqa: BLE001 this is what the test is about
            seen.append(repr(error))
            return "fallback"

    assert bench.run(careful, "hello") not in {"", "fallback"}
    assert seen == []


def test_finally_blocks_and_context_managers_run(bench: Bench) -> None:
    """A body that is captured is left as by any exception: nothing stays open."""
    events: list[str] = []

    @contextmanager
    def opened(name: str) -> Iterator[None]:
        events.append(f"open {name}")
        try:
            yield
        finally:
            events.append(f"close {name}")

    @bench.task
    def body(text: str) -> str:
        with opened("database"):
            try:
                return ask(client, text)
            finally:
                events.append("finally")

    bench.run(body, "hello")
    assert events == ["open database", "finally", "close database"] * 2


def test_calls_that_follow_from_each_other_are_one_round_each(bench: Bench) -> None:
    runs: list[str] = []

    @bench.task
    def body(text: str) -> str:
        runs.append(text)
        for word in ("shorter", "kinder", "clearer"):
            text = ask(client, f"Make this {word}: {text}")
        return text

    assert bench.run(body, "hello") == body("hello")
    ledger = bench.emulator.ledger()
    assert len(runs) == 4 + 1
    assert ledger["batches_created"] == 3
    assert ledger["lines_known"] == 3
    assert ledger["duplicates"] == {}


def test_equal_calls_get_an_answer_each(bench: Bench) -> None:
    """Three drafts of one prompt are three prompts, and each keeps its own answer."""
    seen: list[list[str | None]] = []

    @bench.task
    def body() -> None:
        ids: list[str | None] = []
        seen.append(ids)
        for _ in range(3):
            raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=user("a"))
            ids.append(raw.request_id)

    bench.run(body)
    assert len(set(seen[-1])) == 3
    assert [len(ids) for ids in seen] == [0, 1, 2, 3]
    assert all(ids == seen[-1][: len(ids)] for ids in seen)


# Errors

LINE_ERROR = {
    "message": "Invalid 'temperature': too hot.",
    "type": "invalid_request_error",
    "param": "temperature",
    "code": "decimal_above_max_value",
}


def test_the_error_of_a_line_is_the_sdks_own(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.emulator.fault(
        "line_error",
        status=400,
        first=1,
        **{("kind" if name == "type" else name): value for name, value in LINE_ERROR.items()},
    )
    caught: list[openai.BadRequestError] = []

    @bench.task
    def body(text: str) -> str:
        try:
            return ask(client, text)
        except openai.BadRequestError as error:
            caught.append(error)
            return "refused"

    with caplog.at_level("DEBUG", logger="openai"):
        assert bench.run(body, "hello") == "refused"
    (error,) = caught
    assert error.status_code == 400
    assert error.body == LINE_ERROR
    assert (error.code, error.param, error.type) == (
        LINE_ERROR["code"],
        LINE_ERROR["param"],
        LINE_ERROR["type"],
    )
    assert error.request_id
    assert str(error).startswith("Error code: 400")
    assert "Retrying" not in caplog.text


ERRORS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.mark.parametrize("status", ERRORS)
def test_every_status_is_raised_once_as_its_own_class(
    make_bench: Callable[..., Bench], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A live call with these statuses is tried again by the SDK; a recorded one will not change."""
    bench = make_bench(batchq_max_attempts=1)
    bench.emulator.fault("line_error", status=status, first=1)
    caught: list[openai.APIStatusError] = []

    @bench.task
    def body(text: str) -> str:
        try:
            return ask(client, text)
        except openai.APIStatusError as error:
            caught.append(error)
            return "failed"

    with caplog.at_level("DEBUG", logger="openai"):
        assert bench.run(body, "hello") == "failed"
    (error,) = caught
    assert type(error) is ERRORS[status]
    assert error.status_code == status
    assert "Retrying" not in caplog.text
    assert bench.emulator.ledger()["live_calls"] == 0


def test_one_bad_line_does_not_fail_its_neighbours(bench: Bench) -> None:
    bench.emulator.fault("line_error", containing="the bad one")

    @bench.task
    def body(text: str) -> str:
        return ask(client, text)

    results = [bench.send(body, text) for text in ("good", "the bad one", "fine")]
    bench.deliver()
    bench.answer()
    bench.deliver()
    assert [result.state for result in results] == ["SUCCESS", "FAILURE", "SUCCESS"]
    assert bench.emulator.ledger()["batches_created"] == 1


def test_an_answer_cut_short_is_the_sdks_own_error(bench: Bench) -> None:
    """What `.parse()` raises about an answer is raised in the body, where it can be caught."""

    @bench.task
    def body() -> str:
        try:
            client.chat.completions.parse(
                model=MODEL, messages=user("a"), response_format=Note, max_completion_tokens=1
            )
        except openai.LengthFinishReasonError as error:
            return error.completion.choices[0].finish_reason
        return "nothing was raised"

    assert bench.run(body) == "length"


# Everything else the SDK gives


def test_raw_responses_are_given(bench: Bench) -> None:
    @bench.task
    def body() -> dict[str, Any]:
        raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=user("a"))
        completion = raw.parse()
        return {
            "request_id": raw.request_id,
            "same id": completion._request_id == raw.request_id,
            "status": raw.http_response.status_code,
            "type": raw.headers["content-type"],
            "url": str(raw.http_response.request.url).rsplit("/v1")[-1],
            "text": completion.choices[0].message.content,
            "elapsed": raw.elapsed.total_seconds(),
        }

    said = bench.run(body)
    assert said.pop("request_id")
    assert said.pop("text")
    assert said == {
        "same id": True,
        "status": 200,
        "type": "application/json",
        "url": "/chat/completions",
        "elapsed": 0.0,
    }


def test_streaming_responses_are_given_whole(bench: Bench) -> None:
    @bench.task
    def body() -> list[Any]:
        create = client.chat.completions.with_streaming_response.create
        with create(model=MODEL, messages=user("a")) as streamed:
            completion = streamed.parse()
        with create(model=MODEL, messages=user("b")) as streamed:
            text = "".join(streamed.iter_text())
        return [completion.choices[0].message.content, streamed.request_id is not None, text]

    content, has_id, text = bench.run(body)
    assert content
    assert has_id
    assert '"chat.completion"' in text


def test_an_error_of_a_streaming_response_can_be_read(bench: Bench) -> None:
    bench.emulator.fault("line_error", status=400, first=1, message="No.")

    @bench.task
    def body() -> str:
        create = client.chat.completions.with_streaming_response.create
        try:
            with create(model=MODEL, messages=user("a")) as streamed:
                return streamed.text()
        except openai.BadRequestError as error:
            return error.message

    assert "No." in bench.run(body)


def test_usage_is_given(bench: Bench) -> None:
    @bench.task
    def body() -> list[int]:
        completion = client.chat.completions.create(model=MODEL, messages=user("hello"))
        assert completion.usage is not None
        return [completion.usage.prompt_tokens, completion.usage.completion_tokens]

    bill = bench.run(body), bench.emulator.ledger()["totals"]["batch"]
    assert bill[0] == [bill[1]["input_tokens"], bill[1]["output_tokens"]]
