"""The live endpoints: the same answers as a batch line gets, now and at full price."""

import json
from typing import Any, ClassVar

from batchq.emulator.answers import chat, responses
from batchq.emulator.execution import Reply, reply_to
from batchq.emulator.handlers.api import ApiHandler
from batchq.emulator.ledger import Entry
from batchq.emulator.prices import PRICES
from batchq.emulator.problems import Refusal, no_such_model
from batchq.emulator.shapes import JsonObject, as_object
from batchq.emulator.tokens import Usage, usage_of

STREAMED = (chat.ENDPOINT, responses.ENDPOINT)


class Live(ApiHandler):
    """POST /v1/<endpoint>, and Azure's /openai/deployments/<model>/<endpoint>."""

    calls: ClassVar[dict[str, str]] = {"POST": "live"}

    async def post(self, first: str, second: str | None = None) -> None:
        deployment, path = (None, first) if second is None else (first, second)
        endpoint, body = f"/v1/{path}", self.json_body()
        if deployment is not None:
            body["model"] = deployment
        self._check_model(body)
        streamed = bool(body.get("stream"))
        if streamed and endpoint not in STREAMED:
            raise Refusal(400, f"The emulator does not stream {endpoint}.", param="stream")
        reply = await self._answer(endpoint, body)
        self._bill(body, reply)
        if streamed and reply.ok:
            self._stream(endpoint, body, reply.body)
        else:
            await self.reply(reply.body, reply.status or 500)

    def _check_model(self, body: JsonObject) -> None:
        models, model = self.service.options.models, body.get("model")
        if models is not None and isinstance(model, str) and model not in models:
            raise no_such_model(model)

    async def _answer(self, endpoint: str, body: JsonObject) -> Reply:
        if self.service.upstream is None:
            return reply_to(endpoint, body, int(self.service.clock.now()))
        whole = {name: value for name, value in body.items() if not name.startswith("stream")}
        return await self.service.upstream.reply_to(endpoint, whole)

    def _bill(self, body: JsonObject, reply: Reply) -> None:
        usage = usage_of(as_object(reply.body) or {}) if reply.ok else Usage()
        self.service.ledger.record_live(Entry(str(body.get("model")), reply.ok, usage))
        self.service.ledger.count("live_calls")

    def _stream(self, endpoint: str, body: JsonObject, answer: JsonObject) -> None:
        self.set_header("content-type", "text/event-stream")
        if endpoint == chat.ENDPOINT:
            options: Any = as_object(body.get("stream_options")) or {}
            include_usage = bool(options.get("include_usage"))
            for chunk in chat.chunks(answer, include_usage=include_usage):
                self.send(f"data: {json.dumps(chunk)}\n\n")
            self.send("data: [DONE]\n\n")
        else:
            for number, event in enumerate(responses.events(answer)):
                numbered = {**event, "sequence_number": number}
                self.send(f"event: {event['type']}\ndata: {json.dumps(numbered)}\n\n")
        self.end()


class Models(ApiHandler):
    calls: ClassVar[dict[str, str]] = {"GET": "models"}

    async def get(self, model: str | None = None) -> None:
        names = sorted(self.service.options.models or PRICES)
        if model is None:
            await self.reply({"object": "list", "data": [_model(name) for name in names]})
        elif model in names:
            await self.reply(_model(model))
        else:
            raise no_such_model(model)


def _model(name: str) -> JsonObject:
    return {"id": name, "object": "model", "created": 1_767_225_600, "owned_by": "emulator"}
