"""/v1/batches"""

from typing import Any, ClassVar

from batchq.emulator.handlers.api import ApiHandler
from batchq.emulator.handlers.files import expiry_seconds, listed
from batchq.emulator.problems import (
    Refusal,
    missing,
    no_such_batch,
    too_many_requests,
    unknown_parameter,
    unsupported_value,
    wrong_type,
)
from batchq.emulator.records import Batch
from batchq.emulator.shapes import JsonObject, as_object, identifier, is_integer
from batchq.emulator.views import vanished

BATCH_ENDPOINTS = (
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
)
PARAMETERS = frozenset(
    {"input_file_id", "endpoint", "completion_window", "metadata", "output_expires_after"}
)
MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512


class Batches(ApiHandler):
    calls: ClassVar[dict[str, str]] = {"GET": "list", "POST": "create"}

    async def post(self) -> None:
        body = self.json_body()
        self._check(body)
        self._faults(body["input_file_id"])
        self._rate_limit()
        batch = self._batch(body)
        self.service.store.save(batch)
        self.service.ledger.count("batches")
        self.service.lifecycle.start(batch)
        await self.reply(self.service.show(batch))

    def _check(self, body: JsonObject) -> None:
        for name in body:
            if name not in PARAMETERS:
                raise unknown_parameter(name)
        for name in ("input_file_id", "endpoint", "completion_window"):
            if body.get(name) is None:
                raise missing(name)
            if not isinstance(body[name], str):
                raise wrong_type(name, "a string", body[name])
        if self._endpoint(body) not in BATCH_ENDPOINTS:
            raise unsupported_value("endpoint", body["endpoint"], BATCH_ENDPOINTS)
        if body["completion_window"] != "24h":
            raise unsupported_value("completion_window", body["completion_window"], ("24h",))
        check_metadata(body.get("metadata"))
        _result_life(body)

    def _endpoint(self, body: JsonObject) -> str:
        """Azure leaves out the /v1."""
        endpoint = str(body["endpoint"])
        return f"/v1{endpoint}" if self.azure and not endpoint.startswith("/v1/") else endpoint

    def _faults(self, file_id: str) -> None:
        if self.service.faults.fire("create_400_file_not_found") is not None:
            raise Refusal(
                400,
                f"Cannot find file {file_id}, or project proj_emulator does not have access to it.",
                param="file_id",
            )

    def _rate_limit(self) -> None:
        condition = self.service.faults.condition("batches_per_hour")
        limit = self.service.options.batches_per_hour
        if condition is not None:
            limit = int(condition["limit"])
        since = self.service.clock.now() - 3600
        made = [
            batch.created_at
            for batch in self.service.store.batches.values()
            if batch.created_at > since and batch.owner == self.owner
        ]
        if len(made) >= limit:
            if condition is not None:
                self.service.faults.showed("batches_per_hour")
            raise too_many_requests(
                f"Rate limit reached for batch creation: limit {limit} per hour. Please try "
                "again later.",
                retry_after=max(1, round(min(made, default=since) - since)),
            )

    def _batch(self, body: JsonObject) -> Batch:
        now = self.service.clock.now()
        return Batch(
            id=identifier("batch_"),
            owner=self.owner,
            endpoint=self._endpoint(body),
            input_file_id=body["input_file_id"],
            created_at=now,
            expires_at=now + self.service.options.window,
            metadata=body.get("metadata"),
            output_expires_after=_result_life(body),
            azure=self.azure,
            faults=self.service.faults.take_for_batch(),
        )

    async def get(self) -> None:
        limit = self.integer("limit", otherwise=20, low=1, high=100)
        found = self._found()
        after = self.get_query_argument("after", None)
        if after is not None:
            ids = [batch.id for batch in found]
            if after not in ids:
                raise no_such_batch(after)
            found = found[ids.index(after) + 1 :]
        page = [self.service.show(batch) for batch in found[:limit]]
        await self.reply(listed(page, more=len(found) > limit))

    def _found(self) -> list[Batch]:
        """The batches of this key, newest first."""
        faults, now = self.service.faults, self.service.clock.now()
        lag = faults.condition("list_lag")
        newest = now if lag is None else now - float(lag["seconds"])
        own = [
            batch
            for batch in reversed(self.service.store.batches.values())
            if batch.owner == self.owner and not vanished(batch)
        ]
        found = [batch for batch in own if batch.created_at <= newest]
        if len(found) < len(own):
            faults.showed("list_lag")
        return found


def check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    pairs = as_object(metadata)
    if pairs is None:
        raise wrong_type("metadata", "an object", metadata)
    if len(pairs) > MOST_PAIRS:
        raise Refusal(
            400,
            f"Invalid 'metadata': too many properties. Expected an object with at most "
            f"{MOST_PAIRS} properties, but got {len(pairs)} properties instead.",
            param="metadata",
            code="object_above_max_properties",
        )
    for key, value in pairs.items():
        _check_length(f"metadata.{key[:LONGEST_KEY]}", key, LONGEST_KEY)
        if not isinstance(value, str):
            raise wrong_type(f"metadata.{key}", "a string", value)
        _check_length(f"metadata.{key}", value, LONGEST_VALUE)


def _check_length(param: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise Refusal(
            400,
            f"Invalid '{param}': string too long. Expected a string with maximum length "
            f"{longest}, but got a string with length {len(text)} instead.",
            param=param,
            code="string_above_max_length",
        )


def _result_life(body: JsonObject) -> float | None:
    given = body.get("output_expires_after")
    if given is None:
        return None
    policy = as_object(given)
    if policy is None:
        raise wrong_type("output_expires_after", "an object", given)
    if policy.get("anchor") is None:
        raise missing("output_expires_after.anchor")
    if policy["anchor"] != "created_at":
        raise unsupported_value("output_expires_after.anchor", policy["anchor"], ("created_at",))
    if not is_integer(policy.get("seconds")):
        raise missing("output_expires_after.seconds")
    return expiry_seconds(policy["seconds"], "output_expires_after.seconds")
