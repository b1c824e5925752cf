"""What can go wrong with a batch: its states, its lines, its result files."""

from batchq.emulator.fault import failing_lines, of_batch, of_lines

QUOTA = "You exceeded your current quota, please check your plan and billing details."
BROKEN = "The server had an error processing your request. Sorry about that!"
OVERLOADED = "Our servers are currently overloaded. Please try again later."

STATES = (
    of_batch("model_not_found", "Validation fails: the model is unknown or cannot be batched."),
    of_batch(
        "token_limit_exceeded",
        "Validation fails: the queue is said to be full (`limit` is what the message says).",
        limit=2_000_000,
    ),
    of_lines(
        "invalid_line",
        "Validation fails at the first line picked, or at line `line`, with `code`; unless "
        "`numbered`, it does not say which line it was.",
        line=None,
        numbered=True,
        code="invalid_json_line",
    ),
    of_batch(
        "input_file_lost",
        "Validation fails: the input file is said not to be found, though it can be read.",
        code="invalid_request",
        param="file_id",
    ),
    of_batch("stuck_validating", "The batch stays in validating until the fault is lifted."),
    of_batch("stuck_in_progress", "The batch stops after the share `at` of its lines.", at=0.5),
    of_batch("stuck_finalizing", "The batch stays in finalizing until the fault is lifted."),
    of_batch("slow_cancelling", "A cancelled batch is `seconds` in cancelling.", seconds=600),
    of_batch(
        "unknown_status",
        "The first `polls` calls that retrieve the batch see the status `status`.",
        status="rebalancing",
        polls=3,
    ),
    of_batch("uppercase_status", "The batch's status is in upper case, and CANCELING has one L."),
    of_batch("null_counts", "The batch's counts are null."),
    of_batch("batch_404", "The batch vanishes before it runs: nobody finds it again."),
    of_batch("partial_expiry", "The window ends when the share `at` of the lines has run.", at=0.5),
    of_batch(
        "cancel_midway",
        "Someone cancels the batch at the share `at`; unless `partial`, no answer is handed out.",
        at=0.5,
        partial=True,
    ),
    of_batch("cancel_resets_counts", "If the batch is cancelled: counts go back to 0, no answers."),
)

LINES = (
    failing_lines(
        "all_lines_fail",
        "Every line fails, so that there is no output file.",
        400,
        "invalid_request_error",
        code="invalid_value",
        message="Invalid value.",
        first=None,
        every=1,
    ),
    failing_lines(
        "line_error",
        "The lines picked fail with `status`, `code`, `message`, `kind` (the type) and `param`.",
        400,
        "invalid_request_error",
        code="invalid_value",
        message="Invalid value.",
    ),
    failing_lines(
        "rows_429",
        "The lines picked fail with a 429.",
        429,
        "requests",
        code="rate_limit_exceeded",
        message=QUOTA,
    ),
    failing_lines(
        "rows_500", "The lines picked fail with a 500.", 500, "server_error", message=BROKEN
    ),
    failing_lines(
        "rows_503",
        "The lines picked fail with a 503.",
        503,
        "service_unavailable",
        message=OVERLOADED,
    ),
    of_lines("status_code_zero", "The lines picked have status_code 0, counted as completed."),
    of_lines("null_response", "The lines picked have neither a response nor an error."),
    of_lines("missing_rows", "The lines picked ran and were billed, but have no row in any file."),
    of_lines("duplicate_rows", "The lines picked have their row twice."),
    of_lines(
        "conflicting_duplicate",
        "The lines picked have an answer and an error with `status`, in the error file or, where "
        "`in_output`, in the output file too.",
        status=500,
        in_output=False,
    ),
    of_lines("corrupt_row", "The rows of the lines picked are not JSON any more."),
    of_lines("huge_row", "The rows of the lines picked are padded to `bytes`.", bytes=20_000_000),
    of_batch(
        "unknown_custom_id",
        "There is one row more, for a line nobody asked.",
        custom_id="nobody-asked-this",
    ),
)

RESULT_FILES = (
    of_batch("truncated_last_line", "The last row of each file is cut in the middle."),
    of_batch("no_trailing_newline", "The last row of each file has no newline."),
    of_batch("blank_lines", "There are blank lines between the rows and at the end."),
    of_batch(
        "completed_before_files",
        "The batch is completed, but its file ids come `seconds` later.",
        seconds=2,
    ),
    of_batch("missing_output_file_id", "The batch is completed, but its file ids never come."),
    of_batch("empty_string_file_ids", "A file id that would be null is an empty string."),
    of_batch("zero_byte_files", "A file that would not exist is there, with no bytes."),
    of_batch("file_expired", "The result files are gone when they are asked for."),
)
