"""Webhooks as the provider sends them, signed here by other code than what verifies them; and the
server that takes them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batchq.webhook.server import PATH

if TYPE_CHECKING:
    from tests.harness import Process, Stack

#: Opens nothing: the canary of these tests, and in no log.
SECRET = "whsec_" + base64.b64encode(b"canary-secret-of-webhooks-4c1f").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another-secret-of-webhooks-77").decode()


def event(batch_id: str, kind: str = "batch.completed", **more: Any) -> bytes:
    about = {"id": "evt_1", "object": "event", "type": kind, "created_at": int(time.time())}
    return json.dumps({**about, "data": {"id": batch_id}, **more}).encode()


def signed(
    body: bytes, *, secret: str = SECRET, webhook_id: str | None = None, age: float = 0
) -> dict[str, str]:
    """The headers of a webhook that was signed `age` seconds ago."""
    webhook_id = f"wh_{secrets.token_hex(8)}" if webhook_id is None else webhook_id
    timestamp = str(int(time.time() - age))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return {
        "Content-Type": "application/json",
        "Webhook-Id": webhook_id,
        "Webhook-Timestamp": timestamp,
        "Webhook-Signature": f"v1,{base64.b64encode(digest).decode()}",
    }


@contextmanager
def serving(
    stack: Stack,
    module: str,
    environment: Mapping[str, str] | None = None,
    limits: Mapping[str, int] | None = None,
) -> Iterator[Process]:
    """The server of an app, in a process of its own; with ``limits`` of its own too."""
    code = (
        f"from {module} import app\n"
        "from batchq.webhook import server\n"
        f"server._LIMITS |= {dict(limits or {})}\n"
        "server.serve(app, port=0, ready=lambda url: print('ready on', url))"
    )
    given = {"OPENAI_WEBHOOK_SECRET": SECRET} if environment is None else environment
    name = f"webhooks{len(stack.processes)}"
    server = stack.process([sys.executable, "-c", code], name=name, environment=given)
    yield server
    server.stop()


def port_of(server: Process) -> int:
    server.wait_for_output("ready on")
    url = server.output().split("ready on ")[1].split()[0]
    assert url.endswith(PATH)
    return int(url.rsplit(":", 1)[1].removesuffix(PATH))
