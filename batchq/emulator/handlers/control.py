"""/emulator: what a test asks of the emulator itself. Needs no key."""

from batchq.emulator.catalogue import CATALOGUE
from batchq.emulator.handlers.base import Handler
from batchq.emulator.problems import Refusal, missing
from batchq.emulator.shapes import is_integer
from batchq.emulator.webhooks import is_secret


class Health(Handler):
    def get(self) -> None:
        batches = self.service.store.batches.values()
        self.say(
            {
                "status": "ok",
                "now": self.service.clock.now(),
                "open_batches": sum(not batch.terminal for batch in batches),
            }
        )


class LedgerView(Handler):
    def get(self) -> None:
        summary = self.get_query_argument("summary", "") not in ("", "0", "false")
        self.say(self.service.ledger_view(summary=summary))


class FaultList(Handler):
    def get(self) -> None:
        faults = self.service.faults
        self.say({"data": [faults.view(name) for name in CATALOGUE]})

    def delete(self) -> None:
        """Back to the faults that are on by default; batches that are stuck go on."""
        self.service.faults.clear()
        self.service.clock.stir()
        self.get()


class OneFault(Handler):
    def get(self, name: str) -> None:
        self.say(self.service.faults.view(name))

    def put(self, name: str) -> None:
        self.service.faults.arm(name, self.json_body())
        self.service.clock.stir()
        self.get(name)

    def delete(self, name: str) -> None:
        self.service.faults.lift(name)
        self.service.clock.stir()
        self.get(name)


class ClockControl(Handler):
    def get(self) -> None:
        self.say({"now": self.service.clock.now(), "offset": self.service.clock.offset})

    def post(self) -> None:
        seconds = self.json_body().get("advance")
        if seconds is None:
            raise missing("advance")
        if not (is_integer(seconds) or isinstance(seconds, float)) or seconds < 0:
            raise Refusal(400, "'advance' is a number of seconds, and time only goes forward.")
        self.service.advance(seconds)
        self.get()


class WebhookControl(Handler):
    def get(self) -> None:
        webhooks = self.service.webhooks
        sent = [delivery.view() for delivery in webhooks.deliveries]
        self.say({"url": webhooks.url, "deliveries": sent})

    def put(self) -> None:
        body = self.json_body()
        for name in ("url", "secret"):
            if not isinstance(body.get(name), str) or not body[name]:
                raise missing(name)
        if not is_secret(body["secret"]):
            raise Refusal(400, "'secret' is base64 behind whsec_, or any other text.")
        self.service.webhooks.aim(body["url"], body["secret"])
        self.get()

    def delete(self) -> None:
        self.service.webhooks.aim(None, "")
        self.get()


class Reset(Handler):
    async def post(self) -> None:
        await self.service.reset()
        self.say({"status": "ok"})
