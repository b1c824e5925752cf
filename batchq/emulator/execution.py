"""What becomes of one line: its reply, and the rows it leaves in the result files."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batchq.emulator.answers import answer
from batchq.emulator.faults import picks
from batchq.emulator.ledger import Entry
from batchq.emulator.problems import Refusal
from batchq.emulator.records import Batch
from batchq.emulator.shapes import JsonObject, as_object, encode, identifier
from batchq.emulator.tokens import Usage, usage_of

REPLACING = ("no_credit", "all_lines_fail", "line_error", "rows_429", "rows_500", "rows_503")
EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}
CANCELLED = {
    "code": "batch_cancelled",
    "message": "This request was not executed because the batch was cancelled.",
}


@dataclass(frozen=True)
class Line:
    index: int
    raw: bytes
    custom_id: str
    body: JsonObject


@dataclass(frozen=True)
class Reply:
    """What the endpoint said. Status None: nothing at all, not even an error."""

    status: int | None
    body: Any

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def counts_as_completed(self) -> bool:
        # Rows with status_code 0 were reported as completed, and that is what makes them a trap.
        return self.ok or not self.status


@dataclass(frozen=True)
class Ran:
    """A line that has run: what to bill, count and write."""

    entry: Entry
    completed: bool
    output: bytes
    error: bytes


def parse(index: int, raw: bytes) -> Line:
    request = json.loads(raw)
    return Line(index, raw, request["custom_id"], request["body"])


def reply_to(endpoint: str, body: JsonObject, created: int) -> Reply:
    """The emulator's own answer to a request."""
    try:
        return Reply(200, answer(endpoint, body, created=created))
    except Refusal as refusal:
        return Reply(refusal.status, refusal.body)


class Mischief:
    """The faults of one batch that concern its lines."""

    def __init__(self, faults: Mapping[str, Any], fired: set[str]) -> None:
        self._faults = faults
        self.fired = fired

    def picked(self, name: str, line: Line) -> JsonObject | None:
        options: JsonObject | None = self._faults.get(name)
        if options is None:
            return None
        if not picks(options, index=line.index, custom_id=line.custom_id, raw=line.raw):
            return None
        self.fired.add(name)
        return options

    def replacement(self, line: Line) -> Reply | None:
        """A reply for a line that will not be run."""
        if not self._faults:
            return None
        for name in REPLACING:
            options = self.picked(name, line)
            if options is not None:
                return Reply(options["status"], _error_body(options))
        if self.picked("status_code_zero", line) is not None:
            return Reply(0, None)
        if self.picked("null_response", line) is not None:
            return Reply(None, None)
        return None

    def rows(self, line: Line, reply: Reply) -> tuple[bytes, bytes]:
        """What the line writes to the output and to the error file."""
        row = result_row(line.custom_id, reply)
        output, error = (row, b"") if reply.counts_as_completed else (b"", row)
        if not self._faults:
            return output, error
        if self.picked("missing_rows", line) is not None:
            return self._stranger(line), b""
        huge = self.picked("huge_row", line)
        if huge is not None:
            output, error = _padded(output, huge["bytes"]), _padded(error, huge["bytes"])
        if self.picked("corrupt_row", line) is not None:
            output, error = _corrupted(output), _corrupted(error)
        if self.picked("duplicate_rows", line) is not None:
            output, error = output * 2, error * 2
        conflict = self.picked("conflicting_duplicate", line)
        if conflict is not None:
            body = _error_body({"message": "The server had an error.", "code": None})
            other = result_row(line.custom_id, Reply(conflict["status"], body))
            output, error = (
                (other + output, error) if conflict["in_output"] else (output, error + other)
            )
        return output + self._stranger(line), error

    def _stranger(self, line: Line) -> bytes:
        options = self._faults.get("unknown_custom_id")
        if options is None or line.index != 0:
            return b""
        self.fired.add("unknown_custom_id")
        body: JsonObject = {"object": "chat.completion", "choices": []}
        return result_row(options["custom_id"], Reply(200, body))


def run(batch: Batch, line: Line, reply: Reply, mischief: Mischief) -> Ran:
    output, error = mischief.rows(line, reply)
    body = as_object(reply.body) or {}
    usage = usage_of(body) if reply.ok else Usage()
    entry = Entry(batch.model or "", reply.ok, usage, line.custom_id)
    return Ran(entry, reply.counts_as_completed, output, error)


def result_row(custom_id: str, reply: Reply) -> bytes:
    response = (
        None
        if reply.status is None
        else {
            "status_code": reply.status,
            "request_id": identifier("") if reply.status else "",
            "body": reply.body,
        }
    )
    return _row(custom_id, response, None)


def unrun_row(custom_id: str, reason: Mapping[str, str]) -> bytes:
    """The row of a line that was not executed."""
    return _row(custom_id, None, reason)


def _row(custom_id: str, response: JsonObject | None, error: Mapping[str, str] | None) -> bytes:
    row = {
        "id": identifier("batch_req_", 24),
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return encode(row) + b"\n"


def _error_body(options: JsonObject) -> JsonObject:
    error = {
        "message": options["message"],
        "type": options.get("kind", "server_error"),
        "param": options.get("param"),
        "code": options["code"],
    }
    return {"error": error}


def _padded(row: bytes, size: int) -> bytes:
    if not row:
        return row
    missing = max(0, size - len(row) - len(b',"padding":""'))
    return row.rstrip(b"}\n") + _closing(row) + b',"padding":"' + b"x" * missing + b'"}\n'


def _closing(row: bytes) -> bytes:
    """The brackets that `rstrip` took from inside the row."""
    return row[len(row.rstrip(b"}\n")) : -2]


def _corrupted(row: bytes) -> bytes:
    return row[: len(row) // 2] + b"\xff\n" if row else row
