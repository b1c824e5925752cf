"""From what a test says to what a provider's file would: a row, with a verdict as any other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel

from batchq.prompt import Outcome
from batchq.provider.descriptions import Row
from batchq.testing.asked import Request, shown
from batchq.testing.bodies import MAKERS, ToolCall
from batchq.testing.failures import Unanswered

__all__ = ["Answer", "Reply", "Rules", "answerer", "error", "expired", "in_turn", "tool_call"]

Answer = Callable[[Request], Any]
"""Anything that can be answered: see `answers`."""

Rules = Answer | Mapping[Any, Any] | Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the provider says of one line: a status with a body, or why it was never run."""

    status_code: int | None = None
    body: Any = None
    code: str | None = None
    message: str | None = None

    def row(self, request: Request) -> Row:
        """Itself as a line of a result file."""
        return Row(
            custom_id=request.custom_id,
            status_code=self.status_code,
            body=self.body,
            error_code=self.code,
            error_message=self.message,
        )


def error(
    status_code: int,
    *,
    code: str | None = None,
    message: str = "The test says so.",
    param: str | None = None,
) -> Reply:
    """An HTTP error of the provider's, as an answer to one request.

    What a batch would ask again (a rate limit, a failure of the server) is asked again here, as
    often as ``batchq_max_attempts`` says, before the body gets it as the SDK's own exception.
    """
    outcome = Outcome.error(status_code, code=code, message=message, param=param)
    return Reply(status_code=status_code, body=json.loads(outcome.body))


def expired() -> Reply:
    """The batch ran out of time before it came to this request: it is asked again, in the next."""
    message = "This request could not be executed before the completion window expired."
    return Reply(code="batch_expired", message=message)


def tool_call(name: str, /, **arguments: Any) -> ToolCall:
    """A call of one of the request's functions, as an answer; a list of them is several at once."""
    return ToolCall(name, json.dumps(arguments))


def in_turn(*given: Any) -> Answer:
    """The first of these for the first request, the second for the next, and so on."""
    left = iter(given)

    def answer(request: Request) -> Any:
        following = next(left, None)
        return following(request) if callable(following) else following

    return answer


def answerer(rules: Rules) -> Callable[[Request], Reply]:
    """What answers by these rules: a function, a table, or one answer for everything.

    It raises Unanswered, which says what was asked, where they have no answer or none of use.
    """
    given = _function(rules)

    def answer(request: Request) -> Reply:
        try:
            found = given(request)
        except Exception as raised:  # a test's function raises what it likes
            if not _is_status_error(raised):
                raise Unanswered(_failed("the test's own answer failed", request)) from raised
            found = raised
        if found is None:
            raise Unanswered(_failed("the test has no answer to what was asked", request))
        try:
            return _reply(found, request)
        except TypeError as raised:
            raise Unanswered(
                _failed(f"the test answered with {found!r}, and {raised}", request)
            ) from None

    return answer


def _function(rules: Rules) -> Answer:
    if isinstance(rules, Mapping):
        return _table(rules)  # pyright: ignore[reportUnknownArgumentType]
    return rules if callable(rules) else lambda _: rules


def _table(table: Mapping[Any, Any]) -> Answer:
    def answer(request: Request) -> Any:
        for key, found in table.items():
            if _matches(key, request):
                return found(request) if callable(found) else found
        return None

    return answer


def _matches(key: Any, request: Request) -> bool:
    if isinstance(key, str):
        return key in request.text
    if isinstance(key, re.Pattern):
        return cast("re.Pattern[str]", key).search(request.text) is not None
    return bool(key(request))


def _reply(found: Any, request: Request) -> Reply:
    from openai import BaseModel as SdkModel

    if isinstance(found, Reply):
        return found
    if _is_status_error(found):
        body = found.body
        wrapped = isinstance(body, dict) and "error" in body
        return Reply(status_code=found.status_code, body=body if wrapped else {"error": body})
    if isinstance(found, SdkModel):
        return Reply(status_code=200, body=found.to_dict(mode="json"))
    if isinstance(found, BaseModel):
        found = found.model_dump_json()
    if isinstance(found, dict):
        return Reply(status_code=200, body=_as_json(found))
    make = MAKERS.get(request.endpoint)
    if make is None:
        raise TypeError(f"{request.endpoint} is answered by its whole body, a dict")
    return Reply(status_code=200, body=make(request, found))


def _as_json(body: Any) -> Any:
    """As it would come over the wire. Raises TypeError for what is not JSON."""
    return json.loads(json.dumps(body))


def _is_status_error(found: Any) -> bool:
    return isinstance(found, Exception) and hasattr(found, "status_code")


def _failed(what: str, request: Request) -> str:
    return f"{what}: {shown(request)}"
