"""Reads multipart/form-data as it arrives: fields into memory, the file to disk."""

import re
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from batchq.emulator.problems import Refusal

LARGEST_FIELD = 64 * 1024
LARGEST_FILE = 512_000_000  # of any purpose; what a batch may have is checked at the end


class Upload:
    """Feed it the body in chunks, then `end` it. `fields`, `filename` and `size` tell the rest."""

    def __init__(self, content_type: str, place: Path) -> None:
        boundary = _boundary(content_type)
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size = 0
        self._place = place
        self._file: BinaryIO | None = None
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # so that the first delimiter looks like the others
        self._in_part = False
        self._field: str | None = None
        self._ended = False

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk
        while not self._ended and self._step():
            pass

    def end(self) -> None:
        """The body is complete. A broken one is refused."""
        self.close()
        if not self._ended:
            raise Refusal(400, "The multipart body ended before its last boundary.")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _step(self) -> bool:
        """Use up what the buffer gives; False where it takes more to go on."""
        return self._content() if self._in_part else self._head()

    def _head(self) -> bool:
        """From a delimiter through the headers of its part."""
        start = self._buffer.find(self._delimiter)
        if start < 0:
            return False
        after = start + len(self._delimiter)
        if self._buffer.startswith(b"--", after):
            self._ended = True
            self._buffer.clear()
            return False
        end = self._buffer.find(b"\r\n\r\n", after)
        if end < 0:
            if len(self._buffer) > LARGEST_FIELD:
                raise Refusal(400, "The headers of a part of the multipart body are too long.")
            return False
        self._open(bytes(self._buffer[after:end]))
        del self._buffer[: end + 4]
        self._in_part = True
        return True

    def _content(self) -> bool:
        end = self._buffer.find(self._delimiter)
        if end >= 0:
            self._keep(bytes(self._buffer[:end]))
            del self._buffer[:end]
            self._in_part = False
            self.close()
            return True
        # The end of the buffer may be the beginning of a delimiter.
        safe = len(self._buffer) - len(self._delimiter)
        if safe > 0:
            self._keep(bytes(self._buffer[:safe]))
            del self._buffer[:safe]
        return False

    def _open(self, head: bytes) -> None:
        message = Message()
        for line in head.decode("utf-8", "replace").splitlines():
            header, colon, value = line.partition(":")
            if colon:
                message[header.strip()] = value.strip()
        name = message.get_param("name", header="content-disposition")
        if name == "file":
            self._field = None
            filename = message.get_filename()
            self.filename = filename if filename is not None else "upload"
            self._file = self._place.open("wb")
            self.size = 0
        else:
            field = str(name)
            self._field, self.fields[field] = field, ""

    def _keep(self, data: bytes) -> None:
        if self._field is None:
            self.size += len(data)
            if self._file is not None and self.size <= LARGEST_FILE:
                self._file.write(data)
            return
        value = self.fields[self._field] + data.decode("utf-8", "replace")
        if len(value) > LARGEST_FIELD:
            raise Refusal(400, f"The field '{self._field}' is too long.")
        self.fields[self._field] = value


def _boundary(content_type: str) -> bytes:
    found = re.search(r'boundary="?([^";]+)"?', content_type)
    if not content_type.startswith("multipart/form-data") or found is None:
        raise Refusal(400, "Content-Type must be multipart/form-data with a boundary.")
    return found.group(1).encode()
