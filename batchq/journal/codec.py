"""Encryption at rest, where it is asked for: what the journal holds of prompts, answers, messages.

Fernet (AES-128-CBC with HMAC-SHA256) of the `cryptography` package. The first key writes, each of
them reads, so that a key is rotated by putting a new one in front; what was written before there
was a key stays readable.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from batchq.errors import ConfigurationError, KeyMissing
from batchq.settings.sources import read

if TYPE_CHECKING:
    from batchq.settings.record import Settings

__all__ = ["Codec", "codec_of"]

_MARK = b"e"
"""The first byte of what is encrypted. What is not begins with ``=``, ``z`` (see prompt.pack) or,
for steps, with a bracket."""


class Codec:
    """Seals what is written and opens what is read. Without keys it seals nothing."""

    def __init__(self, source: str | None = None, fernet: Any = None) -> None:
        self._source = source
        self._fernet = fernet

    def __repr__(self) -> str:
        return f"Codec({self._source!r})"

    def seal(self, data: bytes) -> bytes:
        if self._fernet is None:
            return data
        # A token is base64, which Redis does not need: without it, a third less.
        token: bytes = self._fernet.encrypt(data)
        return _MARK + base64.urlsafe_b64decode(token)

    def open(self, data: bytes) -> bytes:
        """What was sealed. Raises KeyMissing where no key of this process opens it."""
        if data[:1] != _MARK:
            return data
        if self._fernet is None:
            raise KeyMissing(self._source)
        from cryptography.fernet import InvalidToken

        try:
            opened: bytes = self._fernet.decrypt(base64.urlsafe_b64encode(data[1:]))
        except InvalidToken:
            raise KeyMissing(self._source) from None
        return opened


def codec_of(config: Settings) -> Codec:
    """The codec of these settings, with the keys as they are now. Raises ConfigurationError."""
    if config.encryption is None:
        return Codec()
    try:
        from cryptography.fernet import Fernet, MultiFernet
    except ImportError:
        raise _wrong(config, "the package is missing: pip install 'batchq[encryption]'") from None
    given = read(config.encryption, "batchq_encryption", "key")
    keys = [key.strip() for key in given.split(",") if key.strip()]
    try:
        return Codec(config.encryption, MultiFernet([Fernet(key) for key in keys]))
    except ValueError:
        # The error of cryptography does not show the key; ours shows nothing of it either.
        raise _wrong(
            config,
            "accepted there are Fernet keys (32 bytes as urlsafe base64), newest first, with "
            "commas between them",
        ) from None


def _wrong(config: Settings, expected: str) -> ConfigurationError:
    return ConfigurationError("batchq_encryption", repr(config.encryption), expected)
