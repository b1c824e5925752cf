"""What went wrong with a call, as an error of ours: without keys, headers and SDK objects."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from batchq.errors import (
    SENDS_PROMPTS,
    ProviderError,
    ProviderNotFound,
    ProviderRefused,
    ProviderThrottled,
    ProviderUnauthorized,
    ProviderUnclear,
)
from batchq.provider.sdk import Credentials
from batchq.provider.values import object_in, sound, text_in

if TYPE_CHECKING:
    from openai import APIStatusError


def refusal_of(name: str, call: str, error: APIStatusError, now: Credentials) -> ProviderError:
    status = error.status_code
    message = _hidden(_told(error), error, now)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    if not refused or status == HTTPStatus.REQUEST_TIMEOUT:
        told = "" if call in SENDS_PROMPTS else f": {message}"
        return ProviderUnclear(name, call, f"{status}{told}")
    parts = (name, call, status, text_in(error.code), message, text_in(error.param))
    failure: ProviderRefused
    match status:
        case HTTPStatus.TOO_MANY_REQUESTS:
            failure = ProviderThrottled(*parts, _retry_after(error))
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            failure = ProviderUnauthorized(*parts)
        case HTTPStatus.NOT_FOUND:
            failure = ProviderNotFound(*parts)
        case _:
            failure = ProviderRefused(*parts)
    failure.kind = text_in(error.type)
    return failure


def _told(error: APIStatusError) -> str:
    """The provider's own sentence, without the SDK's rendering of the whole body."""
    told = text_in(object_in(error.body).get("message"))
    return told or sound(str(error.body or error.message)[:500])


def _retry_after(error: APIStatusError) -> float | None:
    headers = error.response.headers
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[header]) * unit)
        except (KeyError, ValueError):  # the other form is a date; our own pace will do
            continue
    return None


def reason_of(error: Exception, now: Credentials) -> str:
    # The SDK says "Connection error."; what happened is in the cause.
    cause = error.__cause__ or error
    return sound(_hidden(f"{type(cause).__name__}: {str(cause) or str(error)}", error, now)[:500])


def _hidden(text: str, error: Exception, now: Credentials) -> str:
    """``text`` without the credentials, and without those that a client got by itself."""
    sent: Any = getattr(getattr(error, "request", None), "headers", {})
    for header in ("authorization", "api-key"):
        _, _, key = sent.get(header, "").rpartition(" ")
        text = text.replace(key, "…") if key else text
    return now.hide(text)
