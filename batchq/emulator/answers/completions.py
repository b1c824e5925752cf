"""`/v1/completions`, the old one."""

from typing import Any

from batchq.emulator import tokens
from batchq.emulator.answers.request import check_range, model_of, positive_integer, seed_of
from batchq.emulator.answers.text import reply
from batchq.emulator.prices import snapshot
from batchq.emulator.problems import missing
from batchq.emulator.shapes import JsonObject, identifier

DEFAULT_LIMIT = 16  # OpenAI's own default for this endpoint


def answer(body: JsonObject, created: int) -> JsonObject:
    model = model_of(body)
    if body.get("prompt") is None:
        raise missing("prompt")
    check_range(body, "temperature", 0, 2)
    limit = positive_integer(body, "max_tokens") or DEFAULT_LIMIT
    variants = positive_integer(body, "n") or 1
    seed = seed_of(body)
    choices: list[JsonObject] = []
    spent = 0
    for prompt in tokens.inputs_of(body):
        for variant in range(variants):
            text, used, short = _completed(prompt, f"{seed}/{len(choices)}/{variant}", limit)
            spent += used
            choices.append(
                {
                    "index": len(choices),
                    "text": text,
                    "logprobs": None,
                    "finish_reason": "length" if short else "stop",
                }
            )
    asked = tokens.prompt_tokens("/v1/completions", body)
    return {
        "id": identifier("cmpl-", 28),
        "object": "text_completion",
        "created": created,
        "model": snapshot(model),
        "choices": choices,
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": spent,
            "total_tokens": asked + spent,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
    }


def _completed(prompt: Any, seed: str, limit: int) -> tuple[str, int, bool]:
    asked = prompt if isinstance(prompt, str) else ""
    text = reply(asked, asked, seed)
    needed = tokens.count(text)
    if needed <= limit:
        return text, needed, False
    return tokens.cut(text, limit), limit, True
