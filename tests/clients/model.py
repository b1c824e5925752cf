"""A model that uses its tools, on a socket: what the emulator asks in the tests of clients.

The emulator's own models never call a tool that is merely offered, and an agent's loop needs one
that does. This one calls each tool it is offered once, in their order, and then it talks.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from batchq.emulator.answers import answer
from batchq.emulator.problems import Refusal

__all__ = ["serving"]


@contextmanager
def serving() -> Iterator[str]:
    """The model, until the block ends; gives its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            status, said = 200, _reply(self.path, body)
        except Refusal as refusal:
            status, said = refusal.status, refusal.body
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """A failing test shows what it asked; who asked whom says nothing."""


def _reply(endpoint: str, body: dict[str, Any]) -> dict[str, Any]:
    body = _without_ids(body)
    name = _next_tool(body)
    if name is None:
        return answer(endpoint, body, created=int(time.time()))
    chat = endpoint.endswith("/chat/completions")
    choice = {"type": "function", **({"function": {"name": name}} if chat else {"name": name})}
    said = answer(endpoint, {**body, "tool_choice": choice}, created=int(time.time()))
    for each in said.get("choices", ()):
        each["finish_reason"] = "tool_calls"
    return said


def _without_ids(body: dict[str, Any]) -> dict[str, Any]:
    """What is answered does not depend on the ids that an earlier answer happened to have."""
    asked = {key: value for key, value in body.items() if key != "prompt_cache_options"}
    if isinstance(body.get("input"), list):
        asked["input"] = [_without_id(item) for item in body["input"]]
    return asked


def _without_id(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return {key: value for key, value in item.items() if key != "id"}


def _next_tool(body: dict[str, Any]) -> str | None:
    """The first tool that was not called yet; None where the model is to talk, or has no choice."""
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, dict) or choice == "none":
        return None
    tools = [tool for tool in body.get("tools") or () if tool.get("type") == "function"]
    names = [(tool.get("function") or tool)["name"] for tool in tools]
    called = _called(body)
    return next((name for name in names if name not in called), None)


def _called(body: dict[str, Any]) -> set[str]:
    """The tools that this conversation has called, or says in words that it has."""
    messages = body.get("messages") or ()
    calls = [call["function"] for each in messages for call in each.get("tool_calls") or ()]
    given = body.get("input")
    items = given if isinstance(given, list) else ()
    calls += [item for item in items if isinstance(item, dict) and "call_id" in item]
    said = [json.dumps(each) for each in messages if each.get("role") == "assistant"]
    told = {name for each in said for name in re.findall(r"'name': '(\w+)'", each)}
    return told | {call["name"] for call in calls if "name" in call}
