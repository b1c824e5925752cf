"""`/v1/chat/completions`: one answer, or the same one in pieces."""

from collections.abc import Iterator

from batchq.emulator import tokens
from batchq.emulator.answers.request import (
    check_range,
    conversation,
    model_of,
    positive_integer,
)
from batchq.emulator.answers.structured import arguments_for, forced_function, formatted
from batchq.emulator.prices import snapshot
from batchq.emulator.problems import Refusal, missing, wrong_type
from batchq.emulator.shapes import JsonObject, as_list, as_object, identifier

ENDPOINT = "/v1/chat/completions"


def answer(body: JsonObject, created: int) -> JsonObject:
    check(body)
    said = conversation(body)
    limit = positive_integer(body, "max_completion_tokens", "max_tokens")
    variants = positive_integer(body, "n") or 1
    function = forced_function(body)
    choices: list[JsonObject] = []
    spent = 0
    for index in range(variants):
        if function is not None:
            arguments = arguments_for(function, said)
            used, choice = _call(index, function, arguments, said.seed)
        else:
            form = as_object(body.get("response_format"))
            text = formatted(form, said, param="response_format", variant=index)
            used, choice = _message(index, text, limit)
        spent += used
        choices.append(choice)
    prompt = tokens.prompt_tokens(ENDPOINT, body)
    return {
        "id": identifier("chatcmpl-", 28),
        "object": "chat.completion",
        "created": created,
        "model": snapshot(model_of(body)),
        "choices": choices,
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": spent,
            "total_tokens": prompt + spent,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_batchq_emulator",
    }


def check(body: JsonObject) -> None:
    model_of(body)
    if body.get("messages") is None:
        raise missing("messages")
    messages = as_list(body["messages"])
    if messages is None:
        raise wrong_type("messages", "an array of objects", body["messages"])
    if not messages:
        raise Refusal(
            400,
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            param="messages",
            code="empty_array",
        )
    for position, message in enumerate(messages):
        known = as_object(message)
        if known is None:
            raise wrong_type(f"messages[{position}]", "an object", message)
        if known.get("role") is None:
            raise missing(f"messages[{position}].role")
    check_range(body, "temperature", 0, 2)
    check_range(body, "top_p", 0, 1)


def _message(index: int, text: str, limit: int | None) -> tuple[int, JsonObject]:
    needed = tokens.count(text)
    short = limit is not None and needed > limit
    if short and limit is not None:
        text, needed = tokens.cut(text, limit), limit
    message: JsonObject = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    return needed, {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": "length" if short else "stop",
    }


def _call(index: int, function: JsonObject, arguments: str, seed: str) -> tuple[int, JsonObject]:
    call = {
        "id": f"call_{seed[:24]}",
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }
    message: JsonObject = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [call],
    }
    return tokens.count(arguments), {
        "index": index,
        "message": message,
        "logprobs": None,
        # A forced call ends with `stop`; only a call the model chose ends with `tool_calls`.
        "finish_reason": "stop",
    }


def chunks(completion: JsonObject, *, include_usage: bool) -> Iterator[JsonObject]:
    """The same completion as a stream sends it."""
    head = {
        name: completion[name]
        for name in ("id", "created", "model", "service_tier", "system_fingerprint")
        if name in completion
    } | {"object": "chat.completion.chunk"}
    usage = {"usage": None} if include_usage else {}

    def chunk(index: int, delta: JsonObject, finish: str | None = None) -> JsonObject:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "choices": [choice], **usage}

    for choice in completion["choices"]:
        index, message = choice["index"], choice["message"]
        yield chunk(index, {"role": "assistant", "content": ""})
        for position, call in enumerate(message.get("tool_calls") or []):
            yield chunk(index, {"tool_calls": [{"index": position, **call}]})
        for piece in pieces(message.get("content") or ""):
            yield chunk(index, {"content": piece})
        yield chunk(index, {}, choice["finish_reason"])
    if include_usage:
        yield {**head, "choices": [], "usage": completion.get("usage")}


def pieces(text: str) -> list[str]:
    """A text in words, with the spaces where a tokenizer has them."""
    first, *rest = text.split(" ")
    return [piece for piece in [first, *(f" {word}" for word in rest)] if piece]
