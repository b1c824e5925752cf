"""Webhooks: a URL is told that a batch is over, in the form and with the signature of OpenAI's.

Where it does not answer with a 2xx it is told again, a few times; OpenAI goes on for three days.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import time
from dataclasses import dataclass, field
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from batchq.emulator.faults import Faults
from batchq.emulator.options import Options
from batchq.emulator.records import Batch
from batchq.emulator.shapes import JsonObject, encode, identifier
from batchq.emulator.views import vanished

PAUSES = (0.2, 0.4, 0.8, 1.6)
TIMEOUT = 5.0
OTHER_SECRET = "the secret of somebody else"  # noqa: S105 it is to be the wrong one


@dataclass
class Delivery:
    """One event on its way. `answers` has the status of each attempt; 0 is no answer."""

    id: str
    type: str
    batch: str
    answers: list[int] = field(default_factory=list[int])

    def view(self) -> JsonObject:
        return dict(vars(self))


class Webhooks:
    def __init__(self, options: Options, faults: Faults) -> None:
        self._options = options
        self._faults = faults
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: AsyncHTTPClient | None = None
        self.deliveries: list[Delivery] = []
        self.url: str | None = None
        self._secret = ""
        self.reset()

    def reset(self) -> None:
        """Nothing was sent, and what is sent goes where the command line says."""
        self.deliveries = []
        self.aim(self._options.webhook_url, os.environ.get(self._options.webhook_secret_env, ""))

    def check(self) -> None:
        """Complain at start, not at the first batch that ends, about a secret that is not there."""
        if self.url is not None and not is_secret(self._secret):
            raise SystemExit(
                f"--webhook-url: the environment has no secret in "
                f"{self._options.webhook_secret_env}. Set it to what webhooks are to be signed "
                "with: base64 behind whsec_, or any other text."
            )

    def aim(self, url: str | None, secret: str) -> None:
        """Send what comes to this URL; None sends nothing."""
        self.url, self._secret = url, secret

    def announce(self, batch: Batch) -> None:
        """A batch is over. Azure says nothing, and nobody knows of one that has vanished."""
        if self.url is None or batch.azure or vanished(batch):
            return
        delivery = Delivery(identifier("wh_"), f"batch.{batch.status}", batch.id)
        self.deliveries.append(delivery)
        if self._faults.fire("webhook_lost") is not None:
            return
        times = 1 if self._faults.fire("webhook_twice") is None else 2
        for _ in range(times):
            task = asyncio.create_task(self._deliver(delivery), name=delivery.id)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _deliver(self, delivery: Delivery) -> None:
        if (late := self._faults.fire("webhook_late")) is not None:
            await asyncio.sleep(late["seconds"])
        body = encode(_event(delivery))
        for pause in (*PAUSES, None):
            status = await self._send(delivery, body)
            delivery.answers.append(status)
            if 200 <= status < 300 or pause is None:
                return
            await asyncio.sleep(pause)

    async def _send(self, delivery: Delivery, body: bytes) -> int:
        if self.url is None:
            return 0
        if self._client is None:
            self._client = SimpleAsyncHTTPClient(force_instance=True)
        request = HTTPRequest(
            self.url,
            method="POST",
            headers=self._signed(delivery.id, body),
            body=body,
            connect_timeout=TIMEOUT,
            request_timeout=TIMEOUT,
            follow_redirects=False,
        )
        try:
            answer = await self._client.fetch(request, raise_error=False)
        except (HTTPClientError, OSError):
            return 0
        return 0 if answer.code == 599 else answer.code

    def _signed(self, webhook_id: str, body: bytes) -> dict[str, str]:
        # The wall clock, and not ours: whoever verifies it has no other.
        stale = self._faults.fire("webhook_stale")
        moment = time.time() - (0 if stale is None else stale["seconds"])
        forged = self._faults.fire("webhook_forged") is not None
        secret = OTHER_SECRET if forged else self._secret
        return {"content-type": "application/json", "user-agent": "OpenAI/1.0 (emulator)"} | sign(
            body, secret=secret, webhook_id=webhook_id, timestamp=int(moment)
        )


def sign(body: bytes, *, secret: str, webhook_id: str, timestamp: int) -> dict[str, str]:
    """The headers of the Standard Webhooks, as OpenAI sends them."""
    key = _key(secret)
    text = f"{webhook_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def is_secret(text: str) -> bool:
    try:
        return bool(_key(text))
    except ValueError:
        return False


def _key(secret: str) -> bytes:
    encoded = secret.removeprefix("whsec_")
    return secret.encode() if encoded == secret else base64.b64decode(encoded)


def _event(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id.replace("wh_", "evt_"),
        "object": "event",
        "created_at": int(time.time()),
        "type": delivery.type,
        "data": {"id": delivery.batch},
    }
