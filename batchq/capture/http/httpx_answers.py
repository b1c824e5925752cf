"""The answer to a call over httpx: asked for or recalled, and given as a response of its family."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from batchq.capture.http.asking import ask, recalled
from batchq.capture.http.calls import Call, reads
from batchq.capture.http.layers import family_of
from batchq.capture.http.lull import let_others_ask
from batchq.capture.http.passages import decided
from batchq.capture.http.replays import Replay, replay_of
from batchq.capture.run import Captured, Question, goes_live
from batchq.prompt import Outcome

__all__ = [
    "Send",
    "answered",
    "answered_async",
    "finished",
    "hide_secrets",
    "replayed_response",
    "unread",
]

Send = Callable[..., Any]
Respond = Callable[[Any, Replay], Any]


def answered(call: Call, request: Any, go: Send, respond: Respond, *, streams: bool) -> Any:
    """The answer to a call: that of its batch, a recorded one, or a live one by ``go``."""
    content = request.read() if reads(call) else b""
    if not goes_live():
        outcome = ask(call, content)
        if outcome is None:
            return go()
        return replayed_response(request, replay_of(outcome, call, content), respond)
    question, recorded = recalled(call, content, streams=streams)
    if recorded is not None:
        return replayed_response(request, replay_of(recorded), respond)
    with decided():
        response = go()
    if question is None or not response.is_success:
        return response
    response.read()
    return _recorded(call, question, request, response, respond)


async def answered_async(
    call: Call, request: Any, go: Send, respond: Respond, *, streams: bool
) -> Any:
    """Likewise, for a client that is async."""
    content = await request.aread() if reads(call) else b""
    if not goes_live():
        try:
            outcome = ask(call, content)
        except Captured:
            await let_others_ask(call.run)
            raise
        if outcome is None:
            return await go()
        return replayed_response(request, replay_of(outcome, call, content), respond)
    question, recorded = recalled(call, content, streams=streams)
    if recorded is not None:
        return replayed_response(request, replay_of(recorded), respond)
    with decided():
        response = await go()
    if question is None or not response.is_success:
        return response
    await response.aread()
    return _recorded(call, question, request, response, respond)


def _recorded(call: Call, question: Question, request: Any, response: Any, respond: Respond) -> Any:
    """A live answer, once it is written down."""
    request_id = response.headers.get("x-request-id", "")
    status, body = response.status_code, response.content
    call.run.record(question, Outcome(status_code=status, body=body, request_id=request_id))
    if respond is finished:
        return response
    # The layers above take it from here as it comes from the network: nobody has read it yet.
    headers = {name: value for name, value in response.headers.items() if name not in _OF_THE_HOP}
    return respond(request, Replay(status_code=status, headers=headers, body=body))


_OF_THE_HOP = frozenset({"content-encoding", "content-length", "transfer-encoding"})


def replayed_response(request: Any, replay: Replay, respond: Respond | None = None) -> Any:
    """The replay as the response that the SDK waits for."""
    hide_secrets(request)
    return (finished if respond is None else respond)(request, replay)


def finished(request: Any, replay: Replay) -> Any:
    """The replay as a client gives it to its caller, in the family its request is of."""
    response = family_of(request).Response(
        replay.status_code, headers=replay.headers, content=replay.body, request=request
    )
    response.elapsed = timedelta(0)
    return response


def unread(request: Any, replay: Replay) -> Any:
    """The replay as a transport gives it to its client."""
    family = family_of(request)
    length = {"content-length": str(len(replay.body))}
    return family.Response(
        replay.status_code,
        headers={**replay.headers, **length},
        stream=family.ByteStream(replay.body),
    )


_SECRET = frozenset({"authorization", "api-key"})


def hide_secrets(request: Any) -> None:
    """The SDK's errors carry their request, and trackers of errors send it on with its headers."""
    for header in _SECRET.intersection(request.headers):
        request.headers[header] = "kept out by batchq"
