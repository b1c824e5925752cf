"""Flower with our pages, as a process of its own, and somebody who asks it over HTTP."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import httpx

from tests.harness import Process, ReservedPort, Stack, wait_until

USER = "ann:correct horse"


class Site:
    """A running Flower. `get` and `post` are those of somebody who is logged in where needed."""

    def __init__(
        self,
        stack: Stack,
        *options: str,
        module: str = "tests.apps.flower",
        user: str | None = USER,
        prefix: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        port = ReservedPort()
        self.address = f"http://127.0.0.1:{port.number}"
        self.url = self.address + (prefix and f"/{prefix}")
        words = ["--address=127.0.0.1", f"--port={port.number}", *options]
        if user is not None:
            words.append(f"--basic_auth={user}")
        if prefix:
            words.append(f"--url_prefix={prefix}")
        self.user = user
        port.release()
        self.process: Process = stack.celery(
            module, "flower", *words, name=f"flower{len(stack.processes)}", environment=environment
        )
        self.client = httpx.Client(headers=self.credentials(), timeout=30)
        wait_until(self._answers, description="Flower answers")

    def credentials(self) -> dict[str, str]:
        if self.user is None:
            return {}
        return {"Authorization": f"Basic {b64encode(self.user.encode()).decode()}"}

    def _answers(self) -> bool:
        assert self.process.exit_code is None, self.process.output()
        try:
            return httpx.get(f"{self.url}/healthcheck").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(self.url + path, **options)

    def post(
        self, path: str, *, headers: Mapping[str, str] | None = None, **data: str
    ) -> httpx.Response:
        """A POST as one of our pages makes it, but for these headers."""
        if "_xsrf" not in self.client.cookies:
            self.get("/batches")
        token = {"X-XSRFToken": self.client.cookies["_xsrf"], "Accept": "application/json"}
        known = {name: value for name, value in (token | dict(headers or {})).items() if value}
        return self.client.post(self.url + path, data=data, headers=known)
