"""/v1/files/{id}, and its content"""

from typing import ClassVar

from batchq.emulator.handlers.api import ApiHandler
from batchq.emulator.problems import no_such_file
from batchq.emulator.records import StoredFile

CHUNK = 1 << 18


class OneFileHandler(ApiHandler):
    def find(self, file_id: str) -> StoredFile:
        now = self.service.clock.now()
        file = self.service.store.file(file_id, now=now, owner=self.owner)
        if file is None:
            raise no_such_file(file_id)
        return file


class OneFile(OneFileHandler):
    calls: ClassVar[dict[str, str]] = {"GET": "retrieve_file", "DELETE": "delete_file"}

    async def get(self, file_id: str) -> None:
        await self.reply(self.find(file_id).view())

    async def delete(self, file_id: str) -> None:
        self.find(file_id)
        self.service.store.remove_file(file_id)
        await self.reply({"id": file_id, "object": "file", "deleted": True})


class Content(OneFileHandler):
    calls: ClassVar[dict[str, str]] = {"GET": "content"}

    async def get(self, file_id: str) -> None:
        fire = self.service.faults.fire
        if fire("content_502") is not None:
            self.html(502, "502 Bad Gateway")
            return
        if fire("content_404_once") is not None:
            raise no_such_file(file_id)
        file = self.find(file_id)
        cut = fire("content_cut")
        until = None if cut is None else int(file.bytes * cut["at"])
        await self._stream(file, until=until, garbled=fire("content_garbled") is not None)

    async def _stream(self, file: StoredFile, *, until: int | None, garbled: bool) -> None:
        """The bytes in pieces, as fast as the client takes them."""
        self.set_header("content-type", "application/octet-stream")
        self.set_header("content-length", str(file.bytes))
        left = file.bytes if until is None else until
        with self.service.store.path(file.id).open("rb") as source:
            while left > 0:
                chunk = source.read(min(CHUNK, left))
                left -= len(chunk)
                self.send(bytes(byte ^ 255 for byte in chunk[:9]) + chunk[9:] if garbled else chunk)
                garbled = False
                await self.flush()
        if until is not None:
            await self.flush()
            self.drop()
        self.end()
