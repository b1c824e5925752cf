"""Everything that can go wrong, by name.

A *call* fault hits calls as they come in. A *batch* fault is taken by the next batches that are
created and shows later in their life; those that pick lines take the options of `SELECTION` too.
A *world* fault is a condition that holds while it is armed.
"""

from batchq.emulator.batch_faults import LINES, QUOTA, RESULT_FILES, STATES
from batchq.emulator.call_faults import CALLS
from batchq.emulator.fault import of_call, of_world

WEBHOOKS = (
    of_call("webhook_lost", "A webhook is not sent."),
    of_call("webhook_twice", "A webhook is sent twice, under one id."),
    of_call("webhook_late", "A webhook is sent `seconds` late.", seconds=5),
    of_call("webhook_stale", "A webhook is signed as `seconds` old.", seconds=301),
    of_call("webhook_forged", "A webhook is signed with another secret."),
)

WORLD = (
    of_world("shuffled", "The rows of result files are not in the order of the lines. Usually on."),
    of_world("list_lag", "A batch is in the list of batches only after `seconds`.", seconds=5),
    of_world("file_list_lag", "A file is in the list of files only after `seconds`.", seconds=5),
    of_world("batches_per_hour", "Create answers 429 after `limit` batches an hour.", limit=2000),
    of_world(
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
    of_world(
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
