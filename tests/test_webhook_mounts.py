"""The examples that take webhooks, each in the server its users have: Django, FastAPI, Flask."""

from __future__ import annotations

import contextlib
import http.client
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from batchq.journal import Journal, journal_of
from batchq.webhook import LARGEST
from tests.harness import ROOT, Process, ReservedPort, Stack, wait_until
from tests.journals import LANE
from tests.webhooks import OTHER_SECRET, SECRET, event, signed

PATH = "/openai/webhook"
#: How the example's user starts it, on any free port.
COMMANDS = {
    "django": ["-m", "examples.webhook_django", "runserver", "--noreload", "127.0.0.1:{port}"],
    "fastapi": ["-m", "uvicorn", "examples.webhook_fastapi:app", "--port", "{port}"],
    "flask": ["-m", "flask", "--app", "examples.webhook_flask", "run", "--port", "{port}"],
}


@dataclass(frozen=True)
class Mount:
    process: Process
    port: int

    def ask(
        self, method: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, PATH, body or None, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def tell(self, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        return self.ask("POST", body, signed(body) if headers is None else headers)


@pytest.fixture(scope="module")
def _mounts(shared_stack: Stack) -> dict[str, Mount]:
    """All of them, started at once."""
    environment = {"OPENAI_WEBHOOK_SECRET": SECRET, "REDIS_URL": shared_stack.server.url}
    mounts: dict[str, Mount] = {}
    ports = [ReservedPort() for _ in COMMANDS]
    for (name, words), reserved in zip(COMMANDS.items(), ports, strict=True):
        port = reserved.release()
        command = [sys.executable, *(word.format(port=port) for word in words)]
        process = shared_stack.process(command, name=name, environment=environment)
        mounts[name] = Mount(process, port)
    for name, mount in mounts.items():
        wait_until(lambda mount=mount: listens(mount), description=f"{name} listens", timeout=60)  # type: ignore[misc]
    return mounts


def listens(mount: Mount) -> bool:
    assert mount.process.exit_code is None, mount.process.output()
    with contextlib.suppress(OSError):
        return mount.ask("GET")[0] > 0
    return False


@pytest.fixture(params=sorted(COMMANDS))
def mount(request: pytest.FixtureRequest, _mounts: dict[str, Mount]) -> Iterator[Mount]:
    mount = _mounts[request.param]
    yield mount
    assert SECRET[6:] not in mount.process.output()


@pytest.fixture
def journal(shared_stack: Stack) -> Journal:
    return journal_of(shared_stack.app("examples.plain_app"))


def test_a_mount_wakes_the_poll_of_a_batch(mount: Mount, journal: Journal) -> None:
    theirs = f"batch_{mount.port}"
    journal.adoption.adopt(
        f"ours-{mount.port}",
        LANE,
        state="submitted",
        provider_id=theirs,
        **dict.fromkeys(("lines", "bytes", "tokens", "sealed_at"), 1),
    )
    body = event(theirs)
    headers = signed(body, webhook_id=f"wh_{mount.port}")
    assert mount.tell(body, headers) == (200, "woken")
    assert mount.tell(body, headers) == (200, "repeated")
    record = journal.batches.get(f"ours-{mount.port}")
    assert record is not None
    assert record.told_at > 0


def test_a_mount_hands_over_the_bytes_as_they_came(mount: Mount) -> None:
    """Spaces, line ends and letters beyond ASCII, as nothing that parses it would write them."""
    body = event("batch_other").replace(b": ", b" :\r\n ") + "  \n\u00a0é".encode()
    assert mount.tell(body) == (400, "unreadable"), "it is signed, and no JSON at its end"
    body = event("batch_other").replace(b": ", b" :\r\n ") + b"  \n"
    assert mount.tell(body) == (200, "unknown")


def test_a_mount_refuses_what_is_not_signed(mount: Mount) -> None:
    body = event("batch_other")
    assert mount.tell(body, {}) == (401, "refused")
    assert mount.tell(body, signed(body, secret=OTHER_SECRET)) == (401, "refused")
    assert mount.tell(body + b" ", signed(body)) == (401, "refused")
    assert mount.tell(b"", signed(body)) == (401, "refused")


def test_a_mount_refuses_what_is_too_large(mount: Mount) -> None:
    """More than a framework has in its own memory for a body, some of them."""
    for size in (LARGEST, 3 * LARGEST):
        body = event("batch_other", padding="x" * size)
        with contextlib.suppress(ConnectionError):  # It does not read it to its end.
            assert mount.tell(body) == (413, "oversize")
    assert mount.tell(event("batch_other")) == (200, "unknown")


def test_a_mount_takes_nothing_but_posts(mount: Mount) -> None:
    assert mount.ask("GET")[0] == 405


def test_a_mount_is_written_in_a_dozen_lines() -> None:
    for name in COMMANDS:
        text = (ROOT / f"examples/webhook_{name}.py").read_text()
        code = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
        lines = [line for line in code.splitlines() if line and not line.startswith(("from", " #"))]
        assert len(lines) <= 16, name
