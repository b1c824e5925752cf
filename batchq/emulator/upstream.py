"""Answers from a real OpenAI-compatible server, in place of made-up ones."""

import asyncio
import json
import os

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from batchq.emulator.execution import Reply
from batchq.emulator.problems import Refusal
from batchq.emulator.shapes import JsonObject, encode

TIMEOUT = 900.0  # seconds; a local model may take its time
LARGEST_ANSWER = 100_000_000


class Upstream:
    """`url` ends as a base URL of the SDK does: in /v1."""

    def __init__(self, url: str, *, key_env: str | None, concurrency: int) -> None:
        self._url = url.rstrip("/")
        self._key_env = key_env
        self.concurrency = concurrency
        self._slots = asyncio.Semaphore(concurrency)
        self._client: AsyncHTTPClient | None = None

    def check(self) -> None:
        """Complain at start, not at the first line, about a key that is not there."""
        if self._key_env is not None and not os.environ.get(self._key_env):
            raise SystemExit(
                f"--upstream-key-env: the environment has no {self._key_env}. Set it to the key "
                "of the upstream server."
            )

    async def reply_to(self, endpoint: str, body: JsonObject) -> Reply:
        """What the server says. That it cannot be reached is an error of this one request."""
        if self._client is None:
            self._client = SimpleAsyncHTTPClient(
                force_instance=True,
                max_clients=self.concurrency,
                max_body_size=LARGEST_ANSWER,
            )
        request = HTTPRequest(
            self._url + endpoint.removeprefix("/v1"),
            method="POST",
            headers=self._headers(),
            body=encode(body),
            connect_timeout=30,
            request_timeout=TIMEOUT,
            follow_redirects=False,
        )
        async with self._slots:
            try:
                answer = await self._client.fetch(request, raise_error=False)
            except (HTTPClientError, OSError) as error:
                return _unreachable(error)
        if answer.code == 599:
            return _unreachable(answer.error)
        return _read(answer.code, answer.body)

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if self._key_env is not None:
            headers["authorization"] = f"Bearer {os.environ[self._key_env]}"
        return headers


def _read(status: int, body: bytes) -> Reply:
    try:
        return Reply(status, json.loads(body))
    except ValueError:
        words = body[:200].decode("utf-8", "replace")
        return _failed(status if status >= 400 else 502, f"The upstream did not say JSON: {words}")


def _unreachable(error: object) -> Reply:
    return _failed(502, f"The upstream server could not be reached: {error}")


def _failed(status: int, message: str) -> Reply:
    refusal = Refusal(status, message, kind="server_error", code="upstream_error")
    return Reply(status, refusal.body)
