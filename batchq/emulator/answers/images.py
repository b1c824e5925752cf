"""`/v1/images/generations`: a tiny picture in the prompt's own colour."""

import base64
import struct
import zlib
from hashlib import sha256

from batchq.emulator import tokens
from batchq.emulator.answers.request import positive_integer
from batchq.emulator.problems import missing, unsupported_value
from batchq.emulator.shapes import JsonObject

SIDE = 8
TOKENS_PER_IMAGE = 272


def answer(body: JsonObject, created: int) -> JsonObject:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise missing("prompt")
    form = body.get("response_format") or "b64_json"
    if form not in ("b64_json", "url"):
        raise unsupported_value("response_format", form, ("url", "b64_json"))
    size = positive_integer(body, "n") or 1
    images: list[JsonObject] = []
    for index in range(size):
        encoded = base64.b64encode(picture(f"{prompt}/{index}")).decode()
        # A data URL: there is no other server that could be asked for the picture.
        images.append(
            {"b64_json": encoded}
            if form == "b64_json"
            else {"url": f"data:image/png;base64,{encoded}"}
        )
    asked, drawn = tokens.count(prompt), TOKENS_PER_IMAGE * size
    return {
        "created": created,
        "data": images,
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"text_tokens": asked, "image_tokens": 0},
            "output_tokens": drawn,
            "total_tokens": asked + drawn,
        },
    }


def picture(seed: str) -> bytes:
    """A square PNG of one colour."""
    colour = sha256(seed.encode("utf-8", "surrogatepass")).digest()[:3]
    rows = (b"\0" + colour * SIDE) * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
