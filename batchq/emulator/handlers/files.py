"""/v1/files"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from tornado.web import stream_request_body

from batchq.emulator.handlers.api import ApiHandler
from batchq.emulator.problems import (
    Refusal,
    above_maximum,
    below_minimum,
    missing,
    no_such_file,
    unsupported_value,
    wrong_type,
)
from batchq.emulator.records import StoredFile
from batchq.emulator.shapes import JsonObject
from batchq.emulator.upload import LARGEST_FILE, Upload

PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
LARGEST_BATCH = 200_000_000
BATCH_FILES_LIVE = 30 * 86_400
OTHER_FILES_LIVE = 10 * 365 * 86_400
SHORTEST_LIFE, LONGEST_LIFE = 3600, 2_592_000


def expiry_seconds(given: object, param: str) -> int:
    """The `seconds` of an `expires_after`, within its bounds."""
    try:
        seconds = int(given if isinstance(given, int | str) else "")
    except ValueError:
        raise wrong_type(param, "an integer", given) from None
    if seconds < SHORTEST_LIFE:
        raise below_minimum(param, seconds, SHORTEST_LIFE)
    if seconds > LONGEST_LIFE:
        raise above_maximum(param, seconds, LONGEST_LIFE)
    return seconds


@stream_request_body
class Files(ApiHandler):
    calls: ClassVar[dict[str, str]] = {"GET": "list_files", "POST": "upload"}
    _upload: Upload | None = None
    _broken: Refusal | None = None
    _file_id: str
    _place: Path

    async def prepare(self) -> None:
        if self.request.method != "POST":
            await super().prepare()
            return
        # A client listens only once it has sent its body, so `post` says what is to be said.
        try:
            self._file_id, self._place = self.service.store.new_upload()
            kind = self.request.headers.get("content-type", "")
            self._upload = Upload(kind, self._place)
        except Refusal as refusal:
            self._broken = refusal

    def data_received(self, chunk: bytes) -> None:
        if self._upload is None or self._broken is not None:
            return
        try:
            self._upload.feed(chunk)
        except Refusal as refusal:
            self._broken = refusal

    def on_finish(self) -> None:
        self._discard()

    def on_connection_close(self) -> None:
        self._discard()

    def _discard(self) -> None:
        if self._upload is not None:
            self._upload.close()
            self._place.unlink(missing_ok=True)

    async def post(self) -> None:
        await self.admit()
        if self._finished:
            return
        upload = self._upload
        if self._broken is not None or upload is None:
            raise self._broken or missing("file")
        upload.end()
        file = self._checked(upload)
        self.service.store.add_file(file, self._place)
        self.service.ledger.count("uploads")
        await self.reply(file.view())

    def _checked(self, upload: Upload) -> StoredFile:
        purpose = upload.fields.get("purpose")
        if purpose is None:
            raise missing("purpose")
        if purpose not in PURPOSES:
            raise unsupported_value("purpose", purpose, PURPOSES)
        if upload.filename is None:
            raise missing("file")
        batch = purpose == "batch"
        if batch and not upload.filename.endswith(".jsonl"):
            raise Refusal(400, "Invalid file format for Batch API. Must be .jsonl")
        if upload.size > (LARGEST_BATCH if batch else LARGEST_FILE):
            raise Refusal(400, "File is too large.", param="file")
        now = self.service.clock.now()
        return StoredFile(
            id=self._file_id,
            filename=upload.filename,
            purpose=purpose,
            bytes=upload.size,
            created_at=now,
            expires_at=now + self._life(upload.fields, batch=batch),
            owner=self.owner,
        )

    def _life(self, fields: dict[str, str], *, batch: bool) -> int:
        seconds = fields.get("expires_after[seconds]")
        anchor = fields.get("expires_after[anchor]")
        if seconds is None and anchor is None:
            return BATCH_FILES_LIVE if batch else OTHER_FILES_LIVE
        if anchor is None:
            raise missing("expires_after.anchor")
        if anchor != "created_at":
            raise unsupported_value("expires_after.anchor", anchor, ("created_at",))
        if seconds is None:
            raise missing("expires_after.seconds")
        return expiry_seconds(seconds, "expires_after.seconds")

    async def get(self) -> None:
        limit = self.integer("limit", otherwise=10_000, low=1, high=10_000)
        order = self.get_query_argument("order", "desc")
        if order not in ("asc", "desc"):
            raise unsupported_value("order", order, ("asc", "desc"))
        found = list(self._found())
        if order == "desc":
            found.reverse()
        after = self.get_query_argument("after", None)
        if after is not None:
            ids = [file.id for file in found]
            if after not in ids:
                raise no_such_file(after)
            found = found[ids.index(after) + 1 :]
        page = [file.view() for file in found[:limit]]
        await self.reply(listed(page, more=len(found) > limit))

    def _found(self) -> Iterator[StoredFile]:
        purpose = self.get_query_argument("purpose", None)
        faults, now = self.service.faults, self.service.clock.now()
        lag = faults.condition("file_list_lag")
        newest = now if lag is None else now - float(lag["seconds"])
        for file_id in list(self.service.store.files):
            file = self.service.store.file(file_id, now=now, owner=self.owner)
            if file is None or purpose not in (None, file.purpose):
                continue
            if file.created_at <= newest:
                yield file
            else:
                faults.showed("file_list_lag")


def listed(page: list[JsonObject], *, more: bool) -> JsonObject:
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": more,
    }
