"""Libraries that always stream could not be used: every such call was refused.

A batch has nothing to stream from, but at the replay its answer is known, and is given as the
events of a stream: what the SDK puts together of them is what it makes of the answer itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

import batchq
from batchq import NotBatchable
from batchq.flow.resume import answer
from batchq.prompt import Outcome
from tests.capture.bench import MODEL, Bench, user

client = OpenAI()
async_client = AsyncOpenAI()


class Label(BaseModel):
    name: str


def replayed(bench: Bench, call: Callable[[], Any], *recorded: Any, status: int = 200) -> Any:
    """What a body gets whose call was answered with ``recorded``."""

    @bench.task
    def body() -> None:
        try:
            got.append(call())
        except openai.APIStatusError as error:
            got.append(error)

    got: list[Any] = []
    result = bench.ask(body)
    for number, each in enumerate(recorded):
        lane = bench.journal.lanes.all()[0].lane
        outcome = Outcome(status_code=status, body=json.dumps(each).encode())
        answer(bench.app, lane, [(f"{result.id}-{number}", outcome)])
    bench.deliver()
    if result.state == "FAILURE":
        raise result.result
    return got[0]


USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def completion(*messages: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
        for index, message in enumerate(messages)
    ]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": MODEL,
        "choices": choices,
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    }


def said(text: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "refusal": None, **more}


def tool_call(number: int, arguments: str) -> dict[str, Any]:
    function = {"name": "look_up", "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "function": function}


ODD = 'line\u2028separator \x85 \ud83d half "quoted" \n\n data: [DONE] 🙂'
LOGPROBS = {"content": [{"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}]}

COMPLETIONS: dict[str, dict[str, Any]] = {
    "text": completion(said("hello")),
    "an odd text": completion(said(ODD)),
    "an empty text": completion(said("")),
    "two choices": completion(said("one"), said("two")),
    "a refusal": completion(said(None, refusal="I will not")),
    "tools": completion(
        said(None, tool_calls=[tool_call(0, '{"a": 1}'), tool_call(1, "{}")]), finish="tool_calls"
    ),
    "logprobs": {
        **completion(),
        "choices": [
            {"index": 0, "message": said("a"), "logprobs": LOGPROBS, "finish_reason": "stop"}
        ],
    },
}


def whole(value: Any) -> Any:
    """What an answer says, without what only marks the pieces of a stream."""
    if isinstance(value, dict):
        kept = {k: whole(v) for k, v in value.items() if v is not None}
        if "function" in kept:
            kept.pop("index", None)
        return kept
    return [whole(item) for item in value] if isinstance(value, list) else value


def chat_stream(**more: Any) -> Any:
    with client.chat.completions.stream(model=MODEL, messages=user("a"), **more) as stream:
        return stream.get_final_completion()


WITH_USAGE: Any = {"stream_options": {"include_usage": True}}


@pytest.mark.parametrize("name", COMPLETIONS)
def test_a_streamed_completion_is_the_completion(bench: Bench, name: str) -> None:
    final = replayed(bench, lambda: chat_stream(**WITH_USAGE), COMPLETIONS[name])
    assert final.object == "chat.completion"
    assert whole(final.model_dump()) == whole(COMPLETIONS[name])


def test_an_async_stream_is_the_completion(bench: Bench) -> None:
    async def called() -> Any:
        async with async_client.chat.completions.stream(
            model=MODEL, messages=user("a"), **WITH_USAGE
        ) as stream:
            return await stream.get_final_completion()

    final = replayed(bench, lambda: asyncio.run(called()), COMPLETIONS["tools"])
    assert whole(final.model_dump()) == whole(COMPLETIONS["tools"])


def test_a_stream_is_read_chunk_by_chunk(bench: Bench) -> None:
    chunks = replayed(
        bench,
        lambda: list(
            client.chat.completions.create(
                model=MODEL, messages=user("a"), stream=True, **WITH_USAGE
            )
        ),
        COMPLETIONS["tools"],
    )
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    first, end, usage = chunks
    assert [call.index for call in first.choices[0].delta.tool_calls] == [0, 1]
    assert first.choices[0].finish_reason is None
    assert end.choices[0].finish_reason == "tool_calls"
    assert (usage.choices, usage.usage.total_tokens) == ([], 12)
    assert first.usage is None


def test_usage_comes_only_where_it_is_asked_for(bench: Bench) -> None:
    """Readers that did not ask take the first choice of every chunk."""
    chunks = replayed(
        bench,
        lambda: list(client.chat.completions.create(model=MODEL, messages=user("a"), stream=True)),
        COMPLETIONS["text"],
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello"
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_is_parsed(bench: Bench) -> None:
    label = completion(said('{"name": "red"}'))
    final = replayed(bench, lambda: chat_stream(response_format=Label), label)
    assert final.choices[0].message.parsed == Label(name="red")


def test_a_streamed_answer_is_read_as_lines(bench: Bench) -> None:
    def called() -> list[str]:
        with client.chat.completions.with_streaming_response.create(
            model=MODEL, messages=user("a"), stream=True
        ) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            return [line for line in response.iter_lines() if line]

    lines = replayed(bench, called, COMPLETIONS["an odd text"])
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line.removeprefix("data: ")) for line in lines[:-1])


def test_a_legacy_completion_is_streamed(bench: Bench) -> None:
    choice = {"index": 0, "text": "hello", "logprobs": None, "finish_reason": "stop"}
    body = {**completion(), "object": "text_completion", "choices": [choice]}
    chunks = replayed(
        bench,
        lambda: list(
            client.completions.create(model="gpt-3.5-turbo-instruct", prompt="a", stream=True)
        ),
        body,
    )
    assert [chunk.choices[0].text for chunk in chunks] == ["hello"]


# The Responses API

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [
        {
            "type": "output_text",
            "text": "hello",
            "annotations": [
                {
                    "type": "url_citation",
                    "start_index": 0,
                    "end_index": 5,
                    "url": "https://example.com",
                    "title": "a",
                }
            ],
            "logprobs": [],
        },
        {"type": "refusal", "refusal": "no more"},
    ],
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "look_up",
    "arguments": '{"a": 1}',
    "status": "completed",
}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "I thought"}],
}
SEARCH = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "a"},
}
CUSTOM = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "c", "name": "t", "input": "text"}


def response(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_760_000_000,
        "model": MODEL,
        "status": "completed",
        "output": list(items),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 5,
            "output_tokens": 7,
            "total_tokens": 12,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
        **more,
    }


RESPONSES = {
    "a message": response(MESSAGE),
    "a call": response(CALL),
    "all kinds": response(REASONING, SEARCH, MESSAGE, CALL, CUSTOM),
    "nothing": response(),
}


def responses_stream(**more: Any) -> Any:
    with client.responses.stream(model=MODEL, input="a", **more) as stream:
        list(stream)
        return stream.get_final_response()


@pytest.mark.parametrize("name", RESPONSES)
def test_a_streamed_response_is_the_response(bench: Bench, name: str) -> None:
    final = replayed(bench, responses_stream, RESPONSES[name])
    plain = openai.types.responses.Response.construct(**RESPONSES[name])
    assert final.output_text == plain.output_text if name != "nothing" else True
    assert whole(final.model_dump(warnings=False)) == whole(plain.model_dump(warnings=False))


def test_a_streamed_response_is_parsed(bench: Bench) -> None:
    part = {"type": "output_text", "text": '{"name": "red"}', "annotations": []}
    body = response({**MESSAGE, "content": [part]})
    final = replayed(bench, lambda: responses_stream(text_format=Label), body)
    assert final.output_parsed == Label(name="red")


def test_the_events_of_a_response_come_in_order_and_numbered(bench: Bench) -> None:
    async def called() -> list[Any]:
        stream = await async_client.responses.create(model=MODEL, input="a", stream=True)
        return [event async for event in stream]

    events = replayed(bench, lambda: asyncio.run(called()), response(MESSAGE, CALL))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds == [
        *("created", "in_progress", "output_item.added"),
        *("content_part.added", "output_text.delta", "output_text.annotation.added"),
        *("output_text.done", "content_part.done"),
        *("content_part.added", "refusal.delta", "refusal.done", "content_part.done"),
        *("output_item.done", "output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done", "completed"),
    ]
    assert type(events[4]).__name__ == "ResponseTextDeltaEvent"


@pytest.mark.parametrize("status", ["incomplete", "failed"])
def test_a_response_that_did_not_complete_says_so_at_its_end(bench: Bench, status: str) -> None:
    events = replayed(
        bench,
        lambda: list(client.responses.create(model=MODEL, input="a", stream=True)),
        response(MESSAGE, status=status),
    )
    assert events[-1].type == f"response.{status}"


# Around them


def test_the_question_of_a_stream_is_that_of_the_whole(bench: Bench) -> None:
    """Neither `stream` nor what belongs to it is on the line, and who asks so or so asks once."""

    @bench.task
    def body() -> list[str]:
        text = ""
        for chunk in client.chat.completions.create(
            model=MODEL, messages=user("a"), stream=True, **WITH_USAGE
        ):
            for choice in chunk.choices:
                text += choice.delta.content or ""
        return [text]

    (text,) = bench.run(body)
    with batchq.live():
        plain = client.chat.completions.create(model=MODEL, messages=user("a"))
    assert text == plain.choices[0].message.content
    ledger = bench.emulator.ledger()
    assert (ledger["lines_known"], ledger["live_calls"]) == (1, 1)


@pytest.mark.parametrize("call", [chat_stream, responses_stream])
def test_an_error_is_raised_as_the_sdk_raises_it(bench: Bench, call: Callable[[], Any]) -> None:
    error = {"error": {"message": "no", "type": "invalid_request_error", "code": "odd"}}
    raised = replayed(bench, call, error, status=400)
    assert isinstance(raised, openai.BadRequestError)
    assert (raised.code, raised.status_code) == ("odd", 400)


@pytest.mark.parametrize("call", [chat_stream, responses_stream])
def test_a_setting_turns_it_off(make_bench: Callable[..., Bench], call: Callable[[], Any]) -> None:
    bench = make_bench(batchq_streams=False)

    @bench.task
    def body() -> None:
        call()

    with pytest.raises(NotBatchable, match="batchq_streams"):
        bench.run(body)


def test_other_streams_have_nothing_to_stream_from(bench: Bench) -> None:
    @bench.task
    def body() -> None:
        client.images.generate(model="gpt-image-1", prompt="a cat", stream=True)

    with pytest.raises(NotBatchable, match="stream=True"):
        bench.run(body)
