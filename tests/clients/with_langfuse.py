"""Langfuse: its OpenAI client and `@observe`, with the lines of docs/watchers.md."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langfuse import observe
from langfuse.openai import OpenAI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.capture.bench import ask
from tests.clients.both import Both
from tests.clients.documented import lines_of

received: list[tuple[str, str | None]] = []
"""The name and the level of each span that Langfuse was sent."""


class _Langfuse(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        if self.path.endswith("/v1/traces"):
            received.extend(_spans(ExportTraceServiceRequest.FromString(content)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """What it was sent is looked at, and not how."""


def _spans(request: Any) -> Iterator[tuple[str, str | None]]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                said = {each.key: each.value.string_value for each in span.attributes}
                yield span.name, said.get("langfuse.observation.level")


@pytest.fixture(scope="module")
def langfuse() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Langfuse)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANGFUSE_PUBLIC_KEY", "pk-test")
        patch.setenv("LANGFUSE_SECRET_KEY", "sk-test")
        patch.setenv("LANGFUSE_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        langfuse = lines_of("Langfuse")["langfuse"]
        yield langfuse
        langfuse.shutdown()
    server.shutdown()
    server.server_close()
    thread.join()


def test_its_client(both: Both, langfuse: Any) -> None:
    """its client: a generation for each replay, none for a capture"""
    received.clear()

    def body(text: str) -> str:
        client = OpenAI()
        return ask(client, f"Improve: {ask(client, text)}")

    journey = both.journey(body, "Bread is dear.")
    assert (journey.prompts, journey.rounds, journey.live) == (2, 2, 0)
    langfuse.flush()
    # The first answer was replayed twice, the second once.
    assert received == [("OpenAI-generation", None)] * 3


def test_observe(both: Both, langfuse: Any) -> None:
    """`@observe`, once for each run"""
    received.clear()

    @observe(name="observed")
    def observed(text: str) -> str:
        return ask(OpenAI(), text)

    def body(text: str) -> str:
        return str(observed(text))

    assert both.journey(body, "Bread is dear.").prompts == 1
    langfuse.flush()
    assert sorted(received, key=str) == [
        ("OpenAI-generation", None),
        ("observed", None),
        ("observed", None),
    ]
