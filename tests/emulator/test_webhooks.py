"""Webhooks of the emulator: the SDK takes them for those of OpenAI."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from batchq.emulator import running
from tests.emulator.support import HOUR, Desk, desk, lines, wait_until
from tests.webhooks import SECRET


class Ear:
    """A URL that is told. `answers` are given one after the other; then 200."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, dict[str, str]]] = []
        self.answers: list[int] = []
        self.url = ""

    def hear(self, count: int = 1) -> list[tuple[bytes, dict[str, str]]]:
        wait_until(lambda: len(self.heard) >= count, description=f"{count} webhooks are heard")
        return self.heard


@contextmanager
def listening() -> Iterator[Ear]:
    ear = Ear()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            ear.heard.append((body, dict(self.headers.items())))
            self.send_response(ear.answers.pop(0) if ear.answers else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        ear.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield ear
        server.shutdown()
        thread.join()


@pytest.fixture
def ear(api: Desk) -> Iterator[Ear]:
    with listening() as ear:
        api.emulator.webhook(ear.url, secret=SECRET)
        yield ear
        api.emulator.webhook(None)


def told(desk: Desk, heard: tuple[bytes, dict[str, str]], secret: str = SECRET) -> tuple[str, str]:
    """What the SDK reads there: the type of the event, and the batch."""
    event: Any = desk.client.webhooks.unwrap(*heard, secret=secret)
    return event.type, event.data.id


def test_the_end_of_a_batch_is_told_as_the_sdk_reads_it(api: Desk, ear: Ear) -> None:
    done = api.run(lines(2))
    (heard,) = ear.hear()
    assert told(api, heard) == ("batch.completed", done.id)
    (delivery,) = api.emulator.deliveries()
    assert delivery == {
        "id": heard[1]["Webhook-Id"],
        "type": "batch.completed",
        "batch": done.id,
        "answers": [200],
    }


def test_a_batch_that_fails_expires_or_is_cancelled_is_told_too(api: Desk, ear: Ear) -> None:
    api.emulator.fault("model_not_found")
    failed = api.run(lines(1))
    assert told(api, ear.hear(1)[0]) == ("batch.failed", failed.id)
    api.emulator.fault("partial_expiry")
    expired = api.run(lines(4))
    assert told(api, ear.hear(2)[1]) == ("batch.expired", expired.id)
    api.emulator.fault("cancel_midway")
    cancelled = api.run(lines(4))
    assert told(api, ear.hear(3)[2]) == ("batch.cancelled", cancelled.id)
    assert len({headers["Webhook-Id"] for _, headers in ear.heard}) == 3


def test_who_does_not_say_that_all_is_well_is_told_again(api: Desk, ear: Ear) -> None:
    """Under the same id, signed anew; a redirect is not followed."""
    ear.answers = [503, 302, 404]
    done = api.run(lines(1))
    heard = ear.hear(4)
    assert {told(api, one) for one in heard} == {("batch.completed", done.id)}
    assert len({headers["Webhook-Id"] for _, headers in heard}) == 1
    wait_until(
        lambda: api.emulator.deliveries()[0]["answers"] == [503, 302, 404, 200],
        description="the fourth answer is noted",
    )


def test_it_gives_up_after_a_few_times(api: Desk) -> None:
    api.emulator.webhook("http://127.0.0.1:9/nobody", secret=SECRET)
    api.run(lines(1))
    wait_until(
        lambda: api.emulator.deliveries()[0]["answers"] == [0, 0, 0, 0, 0],
        description="five attempts",
    )


def test_times_are_those_of_the_wall_clock(slow: Desk) -> None:
    """Wherever the emulator's own clock is: whoever verifies a webhook has no other."""
    with listening() as ear:
        slow.emulator.webhook(ear.url, secret="any other text")
        batch = slow.submit(lines(1))
        for _ in range(3):
            slow.emulator.advance(HOUR)
        slow.finish(batch)
        assert told(slow, ear.hear()[0], "any other text") == ("batch.completed", batch.id)
        slow.emulator.webhook(None)


def test_azure_has_no_webhooks(api: Desk, ear: Ear) -> None:
    azure = api.client.with_options(
        base_url=f"{api.emulator.root}/openai/v1", default_headers={"api-key": "any"}
    )
    Desk(azure, api.emulator).run(lines(1))
    api.run(lines(1))
    ear.hear()
    assert len(api.emulator.deliveries()) == 1


def test_the_command_line_says_whom_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", SECRET)
    with (
        listening() as ear,
        running(webhook_url=ear.url, webhook_secret_env="MY_SECRET") as emulator,
    ):
        api = desk(emulator)
        with api.client:
            done = api.run(lines(1))
            assert told(api, ear.hear()[0]) == ("batch.completed", done.id)
            emulator.webhook(None)
            emulator.reset()
            again = api.run(lines(1))
            assert told(api, ear.hear(2)[1]) == ("batch.completed", again.id)
            assert len(emulator.deliveries()) == 1


@pytest.mark.parametrize("held", ["", "whsec_", "whsec_A"])
def test_a_secret_that_is_not_there_ends_the_emulator_at_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], held: str
) -> None:
    monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", held)
    with pytest.raises(RuntimeError), running(webhook_url="http://127.0.0.1:9/"):
        pass
    assert "the environment has no secret in OPENAI_WEBHOOK_SECRET" in capfd.readouterr().err


def test_a_target_is_a_url_and_a_secret(api: Desk) -> None:
    with pytest.raises(ValueError, match="secret"):
        api.emulator.webhook("http://127.0.0.1:9/", secret="")
    with pytest.raises(ValueError, match="base64 behind whsec_"):
        api.emulator.webhook("http://127.0.0.1:9/", secret="whsec_A")
