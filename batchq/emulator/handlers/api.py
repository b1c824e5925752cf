"""What the calls of the API share: keys, faults, limits."""

import asyncio
from typing import Any, ClassVar

from batchq.emulator.handlers.base import HTML, Dropped, Handler
from batchq.emulator.problems import Refusal, bad_key, server_error
from batchq.emulator.shapes import JsonObject


class ApiHandler(Handler):
    """A call of the API: needs a key, and meets the call faults."""

    calls: ClassVar[dict[str, str]]  # HTTP method -> the name of the call
    owner: str

    @property
    def call(self) -> str:
        return self.calls.get(self.request.method or "", "")

    @property
    def azure(self) -> bool:
        return self.request.path.startswith("/openai/")

    async def prepare(self) -> None:
        await self.admit()

    async def admit(self) -> None:
        """Check the key, and let the faults have their way that come before any effect."""
        self.owner = self.service.owner(self._key())
        if self.call:
            await self._faults_before()

    def _key(self) -> str:
        given = self.request.headers.get("authorization", "")
        bearer = given.removeprefix("Bearer ").strip() if given.startswith("Bearer ") else ""
        return bearer or self.request.headers.get("api-key", "")

    async def _faults_before(self) -> None:
        fire, call = self.service.faults.fire, self.call
        slow = fire("slow", call)
        if slow is not None:
            await asyncio.sleep(float(slow["seconds"]))
        if fire("unauthorized", call) is not None:
            raise bad_key("sk-withdrawn")
        if fire("call_drop_before", call) is not None or fire(f"{call}_drop_before") is not None:
            self.drop()
        if fire("html_instead_of_json", call) is not None:
            self.html(200, "Just a moment...")
            return
        broken = fire("call_error", call)
        if broken is not None:
            raise _refusal(broken)
        spent = self.service.faults.condition("no_credit")
        if spent is not None and spent["at"] == call:
            self.service.faults.showed("no_credit")
            raise Refusal(
                int(spent["status"]), spent["message"], kind=spent["kind"], code=spent["code"]
            )
        options = fire(f"{call}_500")
        if options is not None:
            raise server_error(options["status"])
        options = fire(f"{call}_429")
        if options is not None:
            raise _refusal({"status": 429, **options})

    async def reply(self, body: Any, status: int = 200) -> None:
        """Answer a call that has had its effect: unless the answer is lost, or late."""
        fire, call = self.service.faults.fire, self.call
        if fire("call_drop_after", call) is not None or fire(f"{call}_drop_after") is not None:
            self.drop()
        late = fire("call_slow_after", call) or fire(f"{call}_slow_after")
        if late is not None:
            await asyncio.sleep(float(late["seconds"]))
        self.say(body, status)

    def drop(self) -> None:
        """Cut the connection without a word."""
        self.on_finish()
        self.detach().close()
        raise Dropped

    def html(self, status: int, title: str) -> None:
        self.set_status(status)
        self.set_header("content-type", "text/html; charset=UTF-8")
        self.send(HTML.format(title=title))
        self.end()


def _refusal(options: JsonObject) -> Refusal:
    """The error that a fault's options describe."""
    status = int(options["status"])
    retry_after = options.get("retry_after")
    usual = {
        401: "Incorrect API key provided.",
        403: "You are not allowed to do this.",
        429: "Rate limit reached for requests. Please try again later.",
    }
    kind = "requests" if status == 429 else "invalid_request_error"
    code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status)
    return Refusal(
        status,
        options.get("message") or usual.get(status) or server_error(status).message,
        kind=kind if status < 500 else server_error(status).kind,
        code=options.get("code") or code,
        headers={} if retry_after is None else {"retry-after": f"{retry_after:g}"},
    )
