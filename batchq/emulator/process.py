"""An emulator as a process of its own, for test suites: `with running() as emulator: …`"""

import json
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

READY = "emulator ready on "
CONTROL_TIMEOUT = 30.0


class Emulator:
    """A running emulator. `url` is the `base_url` for the SDK; any `api_key` will do."""

    def __init__(self, arguments: Sequence[str], *, api_key: str) -> None:
        self.api_key = api_key
        self.url = ""
        self._arguments = list(arguments)
        self._port = "0"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, on the port it had before if it ran before."""
        command = [sys.executable, "-m", "batchq.emulator", "--port", self._port]
        self._process = _begin([*command, "--until-stdin-closes", *self._arguments])
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line.startswith(READY):
            self.stop()
            raise RuntimeError(f"the emulator did not start: {' '.join(command)} said {line!r}")
        self.url = line.removeprefix(READY).strip()
        self._port = self.url.rsplit(":", 1)[1].split("/")[0]

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None:
            raise RuntimeError("the emulator is not running")
        return self._process

    @property
    def root(self) -> str:
        """The address without /v1: what Azure calls the endpoint."""
        return self.url.removesuffix("/v1")

    def stop(self) -> None:
        """End it, as a signal to its pid does, and wait until it has ended."""
        self._end("terminate")

    def kill(self) -> None:
        """End it as a crash does: `kill -9`."""
        self._end("kill")

    def _end(self, how: str) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        getattr(process, how)()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    # Control

    def ledger(self, *, summary: bool = False) -> dict[str, Any]:
        return self._ask("GET", f"/emulator/ledger?summary={int(summary)}")

    def fault(self, name: str, **options: Any) -> dict[str, Any]:
        """Arm a fault: `emulator.fault("rows_429", every=10, times=None)`."""
        return self._ask("PUT", f"/emulator/faults/{name}", options)

    def faults(self) -> dict[str, dict[str, Any]]:
        """All faults by name, with how often each has `fired`."""
        return {fault["name"]: fault for fault in self._ask("GET", "/emulator/faults")["data"]}

    def fired(self, name: str) -> int:
        return int(self._ask("GET", f"/emulator/faults/{name}")["fired"])

    def lift(self, name: str) -> None:
        """End a fault; what is stuck in it goes on."""
        self._ask("DELETE", f"/emulator/faults/{name}")

    def clear(self) -> None:
        """End all faults."""
        self._ask("DELETE", "/emulator/faults")

    def advance(self, seconds: float) -> None:
        """Move the emulator's clock forward."""
        self._ask("POST", "/emulator/clock", {"advance": seconds})

    def webhook(self, url: str | None, *, secret: str = "") -> None:
        """Tell this URL from now on when a batch is over; None tells nobody."""
        if url is None:
            self._ask("DELETE", "/emulator/webhook")
        else:
            self._ask("PUT", "/emulator/webhook", {"url": url, "secret": secret})

    def deliveries(self) -> list[dict[str, Any]]:
        """The webhooks so far: `id`, `type`, `batch`, and `answers`, the status of each attempt
        (0: no answer).
        """
        return list(self._ask("GET", "/emulator/webhook")["deliveries"])

    def reset(self) -> None:
        """As new, without a restart."""
        self._ask("POST", "/emulator/reset", {})

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        host = self.root.removeprefix("http://")
        with closing(HTTPConnection(host, timeout=CONTROL_TIMEOUT)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            said: dict[str, Any] = json.load(answer)
        if answer.status >= 400:
            raise ValueError(said["error"]["message"])
        return said


def _begin(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def running(
    *,
    data: Path | None = None,
    api_key: str = "sk-emulator",
    window: float | None = None,
    validate_seconds: float = 0.0,
    run_seconds: float = 0.0,
    finalize_seconds: float = 0.0,
    cancel_seconds: float = 0.0,
    faults: str = "",
    upstream: str | None = None,
    upstream_key_env: str | None = None,
    token_limit: int | None = None,
    webhook_url: str | None = None,
    webhook_secret_env: str | None = None,
    arguments: Sequence[str] = (),
) -> Generator[Emulator]:
    """An emulator on a free port, as fast as it can be; ends with the block.

    Durations are seconds. `arguments` are further ones of the command line.
    """
    chosen = {
        "--data": data,
        "--window": window,
        "--validate-seconds": validate_seconds,
        "--run-seconds": run_seconds,
        "--finalize-seconds": finalize_seconds,
        "--cancel-seconds": cancel_seconds,
        "--faults": faults or None,
        "--upstream": upstream,
        "--upstream-key-env": upstream_key_env,
        "--token-limit": token_limit,
        "--webhook-url": webhook_url,
        "--webhook-secret-env": webhook_secret_env,
    }
    given = [
        word for name, value in chosen.items() if value is not None for word in (name, str(value))
    ]
    emulator = Emulator([*given, *arguments], api_key=api_key)
    emulator.start()
    try:
        yield emulator
    finally:
        emulator.stop()
