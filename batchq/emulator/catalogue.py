"""Everything that can go wrong, by name.

A *call* fault hits calls as they come in. A *batch* fault is taken by the next batches that are
created and shows later in their life; those that pick lines take the options of `SELECTION` too.
A *world* fault is a condition that holds while it is armed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["call", "batch", "world"]

# Which lines a fault picks; without one of these, what its defaults say.
SELECTION = ("custom_id", "containing", "every", "first")
QUOTA = "You exceeded your current quota, please check your plan and billing details."
BROKEN = "The server had an error processing your request. Sorry about that!"
OVERLOADED = "Our servers are currently overloaded. Please try again later."


@dataclass(frozen=True)
class Fault:
    name: str
    level: Level
    description: str
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    picks_lines: bool = False

    @property
    def options(self) -> list[str]:
        names = {"times", *self.defaults, *(SELECTION if self.picks_lines else ())}
        return sorted(names)


def _call(name: str, description: str, **defaults: Any) -> Fault:
    return Fault(name, "call", description, defaults)


def _batch(name: str, description: str, **defaults: Any) -> Fault:
    return Fault(name, "batch", description, defaults)


def _lines(name: str, description: str, **defaults: Any) -> Fault:
    return Fault(name, "batch", description, {"first": 1} | defaults, picks_lines=True)


def _failing(name: str, description: str, status: int, kind: str, **defaults: Any) -> Fault:
    error = {"status": status, "kind": kind, "code": None, "param": None}
    return _lines(name, description, **{**error, **defaults})


def _world(name: str, description: str, *, lines: bool = False, **defaults: Any) -> Fault:
    return Fault(name, "world", description, defaults, picks_lines=lines)


CALLS = (
    _call("upload_500", "The upload is answered with a 500 and not kept.", status=500),
    _call("upload_drop_before", "The connection is cut before the upload is kept."),
    _call("upload_drop_after", "The upload is kept, but its answer is lost."),
    _call("create_400_file_not_found", "Create says that it cannot find a file just uploaded."),
    _call("create_429", "Create is rate limited; with `retry_after` seconds.", retry_after=1),
    _call("create_500", "Create is answered with a 500; no batch is made.", status=500),
    _call("create_drop_before", "The connection is cut before the batch is made."),
    _call("create_drop_after", "The batch is made, but the answer is lost."),
    _call("create_slow_after", "The batch is made; its answer comes `seconds` late.", seconds=5),
    _call("retrieve_404", "No batch is found with this id."),
    _call("retrieve_500", "The status call is answered with a 500.", status=500),
    _call("list_500", "The list of batches is answered with a 500.", status=500),
    _call("cancel_500", "The cancel call is answered with a 500, in vain.", status=500),
    _call("content_502", "The download is answered with a gateway's 502 page."),
    _call("content_404_once", "The download says that there is no such file."),
    _call(
        "content_cut",
        "The connection is cut during the download, after the share `at` of the bytes.",
        at=0.5,
    ),
    _call("content_garbled", "The download's first bytes are not those of the file."),
    _call("live_429", "A live call is rate limited; with `retry_after` seconds.", retry_after=1),
    _call("live_500", "A live call is answered with a 500.", status=500),
    _call(
        "call_error",
        "Any call (`call`: its name, null for all) is answered with `status`.",
        call=None,
        status=500,
        code=None,
        message=None,
        retry_after=None,
    ),
    _call("call_drop_before", "The connection is cut before `call` has an effect.", call=None),
    _call("call_drop_after", "`call` has its effect, but the answer is lost.", call=None),
    _call("call_slow_after", "`call` is answered `seconds` late.", call=None, seconds=5),
    _call("html_instead_of_json", "`call` is answered with a web page and status 200.", call=None),
    _call("unauthorized", "`call` is answered with a 401, whatever the key.", call=None),
    _call("slow", "`call` takes `seconds` before it has an effect.", call=None, seconds=1),
)

STATES = (
    _batch("model_not_found", "Validation fails: the model is unknown or cannot be batched."),
    _batch(
        "token_limit_exceeded",
        "Validation fails: the queue is said to be full (`limit` is what the message says).",
        limit=2_000_000,
    ),
    _lines(
        "invalid_line",
        "Validation fails at the first line picked, or at line `line`, with `code`; unless "
        "`numbered`, it does not say which line it was.",
        line=None,
        numbered=True,
        code="invalid_json_line",
    ),
    _batch(
        "input_file_lost",
        "Validation fails: the input file is said not to be found, though it can be read.",
        code="invalid_request",
        param="file_id",
    ),
    _batch("stuck_validating", "The batch stays in validating until the fault is lifted."),
    _batch("stuck_in_progress", "The batch stops after the share `at` of its lines.", at=0.5),
    _batch("stuck_finalizing", "The batch stays in finalizing until the fault is lifted."),
    _batch("slow_cancelling", "A cancelled batch is `seconds` in cancelling.", seconds=600),
    _batch(
        "unknown_status",
        "The first `polls` calls that retrieve the batch see the status `status`.",
        status="rebalancing",
        polls=3,
    ),
    _batch("uppercase_status", "The batch's status is in upper case, and CANCELING has one L."),
    _batch("null_counts", "The batch's counts are null."),
    _batch("batch_404", "The batch vanishes before it runs: nobody finds it again."),
    _batch("partial_expiry", "The window ends when the share `at` of the lines has run.", at=0.5),
    _batch(
        "cancel_midway",
        "Someone cancels the batch at the share `at`; unless `partial`, no answer is handed out.",
        at=0.5,
        partial=True,
    ),
    _batch("cancel_resets_counts", "If the batch is cancelled: counts go back to 0, no answers."),
)

LINES = (
    _failing(
        "all_lines_fail",
        "Every line fails, so that there is no output file.",
        400,
        "invalid_request_error",
        code="invalid_value",
        message="Invalid value.",
        first=None,
        every=1,
    ),
    _failing(
        "line_error",
        "The lines picked fail with `status`, `code`, `message`, `kind` (the type) and `param`.",
        400,
        "invalid_request_error",
        code="invalid_value",
        message="Invalid value.",
    ),
    _failing(
        "rows_429",
        "The lines picked fail with a 429.",
        429,
        "requests",
        code="rate_limit_exceeded",
        message=QUOTA,
    ),
    _failing("rows_500", "The lines picked fail with a 500.", 500, "server_error", message=BROKEN),
    _failing(
        "rows_503",
        "The lines picked fail with a 503.",
        503,
        "service_unavailable",
        message=OVERLOADED,
    ),
    _lines("status_code_zero", "The lines picked have status_code 0, counted as completed."),
    _lines("null_response", "The lines picked have neither a response nor an error."),
    _lines("missing_rows", "The lines picked ran and were billed, but have no row in any file."),
    _lines("duplicate_rows", "The lines picked have their row twice."),
    _lines(
        "conflicting_duplicate",
        "The lines picked have an answer and an error with `status`, in the error file or, where "
        "`in_output`, in the output file too.",
        status=500,
        in_output=False,
    ),
    _lines("corrupt_row", "The rows of the lines picked are not JSON any more."),
    _lines("huge_row", "The rows of the lines picked are padded to `bytes`.", bytes=20_000_000),
    _batch(
        "unknown_custom_id",
        "There is one row more, for a line nobody asked.",
        custom_id="nobody-asked-this",
    ),
)

RESULT_FILES = (
    _batch("truncated_last_line", "The last row of each file is cut in the middle."),
    _batch("no_trailing_newline", "The last row of each file has no newline."),
    _batch("blank_lines", "There are blank lines between the rows and at the end."),
    _batch(
        "completed_before_files",
        "The batch is completed, but its file ids come `seconds` later.",
        seconds=2,
    ),
    _batch("missing_output_file_id", "The batch is completed, but its file ids never come."),
    _batch("empty_string_file_ids", "A file id that would be null is an empty string."),
    _batch("zero_byte_files", "A file that would not exist is there, with no bytes."),
    _batch("file_expired", "The result files are gone when they are asked for."),
)

WEBHOOKS = (
    _call("webhook_lost", "A webhook is not sent."),
    _call("webhook_twice", "A webhook is sent twice, under one id."),
    _call("webhook_late", "A webhook is sent `seconds` late.", seconds=5),
    _call("webhook_stale", "A webhook is signed as `seconds` old.", seconds=301),
    _call("webhook_forged", "A webhook is signed with another secret."),
)

WORLD = (
    _world("shuffled", "The rows of result files are not in the order of the lines. Usually on."),
    _world("list_lag", "A batch is in the list of batches only after `seconds`.", seconds=5),
    _world("file_list_lag", "A file is in the list of files only after `seconds`.", seconds=5),
    _world("batches_per_hour", "Create answers 429 after `limit` batches an hour.", limit=2000),
    _world(
        "no_credit",
        "There is no credit: the lines picked fail with `status`, `code` and `kind` (the type), or "
        "the call `at` (create, upload, ...) is refused with them.",
        lines=True,
        at="rows",
        status=429,
        code="insufficient_quota",
        kind="insufficient_quota",
        message=QUOTA,
        every=1,
    ),
    _world(
        "token_limit",
        "Batches of `model` (null: each model) may queue at most `limit` prompt tokens.",
        model=None,
        limit=2_000_000,
    ),
)

CATALOGUE = {
    fault.name: fault for fault in (*CALLS, *STATES, *LINES, *RESULT_FILES, *WEBHOOKS, *WORLD)
}
ALWAYS_ON = ("shuffled",)
