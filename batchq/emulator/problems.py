"""The refusals of the API, in OpenAI's words and shapes."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from batchq.emulator.shapes import JsonObject, named

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Refusal(Exception):
    """The API answers with an error: of a call, or of one line of a batch."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = headers

    @property
    def body(self) -> JsonObject:
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


def missing(param: str) -> Refusal:
    return Refusal(
        400,
        f"Missing required parameter: '{param}'.",
        param=param,
        code="missing_required_parameter",
    )


def unknown_parameter(param: str) -> Refusal:
    return Refusal(400, f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def wrong_type(param: str, expected: str, value: Any) -> Refusal:
    return Refusal(
        400,
        f"Invalid type for '{param}': expected {expected}, but got {named(value)} instead.",
        param=param,
        code="invalid_type",
    )


def unsupported_value(param: str, value: Any, supported: Iterable[str]) -> Refusal:
    options = [f"'{option}'" for option in supported]
    listed = " and ".join([", ".join(options[:-1]), options[-1]] if options[1:] else options)
    return Refusal(
        400,
        f"Invalid value: '{value}'. Supported values are: {listed}.",
        param=param,
        code="invalid_value",
    )


def below_minimum(param: str, value: float, minimum: float, word: str = "integer") -> Refusal:
    return Refusal(
        400,
        f"Invalid '{param}': {word} below minimum value. "
        f"Expected a value >= {minimum}, but got {value} instead.",
        param=param,
        code=f"{word}_below_min_value",
    )


def above_maximum(param: str, value: float, maximum: float, word: str = "integer") -> Refusal:
    return Refusal(
        400,
        f"Invalid '{param}': {word} above maximum value. "
        f"Expected a value <= {maximum}, but got {value} instead.",
        param=param,
        code=f"{word}_above_max_value",
    )


def unparseable_body() -> Refusal:
    return Refusal(
        400,
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't "
        "using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was "
        "sent was not valid JSON.)",
    )


def no_such_model(model: str, status: int = 404) -> Refusal:
    return Refusal(
        status,
        f"The model `{model}` does not exist or you do not have access to it.",
        code="model_not_found",
        param="model" if status == 400 else None,
    )


def no_such_batch(batch_id: str) -> Refusal:
    return Refusal(404, f"No batch found with id '{batch_id}'.")


def no_such_file(file_id: str) -> Refusal:
    return Refusal(404, f"No such File object: {file_id}", param="id")


def bad_key(key: str) -> Refusal:
    if not key:
        message = (
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
    else:
        shown = key[:2] + "*" * 8 + key[-2:] if len(key) > 8 else "*" * 8
        message = (
            f"Incorrect API key provided: {shown}. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
        )
    return Refusal(401, message, code="invalid_api_key")


def too_many_requests(message: str, retry_after: float | None = None) -> Refusal:
    headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    return Refusal(429, message, kind="requests", code="rate_limit_exceeded", headers=headers)


def server_error(status: int = 500) -> Refusal:
    overloaded = "Our servers are currently overloaded. Please try again later."
    broken = (
        "The server had an error processing your request. Sorry about that! You can retry your "
        "request, or contact us through our help center if you keep seeing this error."
    )
    kind = "service_unavailable" if status == 503 else "server_error"
    return Refusal(status, overloaded if status == 503 else broken, kind=kind)
