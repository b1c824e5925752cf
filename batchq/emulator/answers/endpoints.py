"""Which endpoint is answered by whom."""

from collections.abc import Callable

from batchq.emulator.answers import (
    chat,
    completions,
    embeddings,
    images,
    moderations,
    responses,
)
from batchq.emulator.problems import Refusal
from batchq.emulator.shapes import JsonObject

Answer = Callable[[JsonObject, int], JsonObject]

ENDPOINTS: dict[str, Answer] = {
    "/v1/chat/completions": chat.answer,
    "/v1/responses": responses.answer,
    "/v1/embeddings": embeddings.answer,
    "/v1/completions": completions.answer,
    "/v1/moderations": moderations.answer,
    "/v1/images/generations": images.answer,
}


def answer(endpoint: str, body: JsonObject, *, created: int) -> JsonObject:
    """The answer to a request: equal but for ids and dates, for equal requests.

    Raises Refusal for what OpenAI would refuse.
    """
    answerer = ENDPOINTS.get(endpoint)
    if answerer is None:
        raise Refusal(
            400,
            f"The emulator does not answer {endpoint}. Give it a server that does: --upstream.",
            code="emulator_endpoint_not_answered",
        )
    return answerer(body, created)
