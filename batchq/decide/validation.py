"""What follows for a batch whose file was refused: nothing of it has run."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchq.common.troubles import Trouble
from batchq.decide.room import NO_ROOM
from batchq.decide.trouble import in_file
from batchq.prompt import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batchq.provider.descriptions import BatchErrorLine

__all__ = [
    "AskAgain",
    "BadLine",
    "Hopeless",
    "NoRoom",
    "NotTheirs",
    "after_failed_validation",
    "parts_to_ask",
    "split_budget",
]


@dataclass(frozen=True, slots=True)
class NoRoom:
    """Too much is queued at the provider. ``limit`` is its limit in tokens, where it says it."""

    limit: int | None


@dataclass(frozen=True, slots=True)
class BadLine:
    """One line is to blame: its prompt gets the error, its neighbours go again."""

    line: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Hopeless:
    """What is wrong is the same for every line: all prompts get the error."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class AskAgain:
    """It is not said which line is to blame: all go again, see `parts_to_ask`."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class NotTheirs:
    """No line is to blame: the account has this trouble. All go again once it is over."""

    trouble: Trouble


def after_failed_validation(
    errors: Sequence[BatchErrorLine], *, well: bool = False
) -> NoRoom | BadLine | Hopeless | AskAgain | NotTheirs:
    """What follows from the errors of a batch whose validation failed (nothing of it has run).

    An account that was ``well`` a moment ago is not to blame for what nobody knows.
    """
    trouble = in_file(errors)
    if trouble is not None and not (well and trouble.reason == "unknown"):
        return NotTheirs(trouble)
    if not errors:
        return AskAgain(
            Outcome.error(400, code="batch_failed", message="The batch failed without a reason.")
        )
    error = errors[0]
    if error.code == NO_ROOM:
        return NoRoom(_limit_in(error.message))
    status_code = 404 if error.code == "model_not_found" else 400
    outcome = Outcome.error(status_code, code=error.code, message=error.message, param=error.param)
    if error.code == "model_not_found" or error.param == "body.model":
        # A lane has one model, so the line that is named is only the first of all.
        return Hopeless(outcome)
    return AskAgain(outcome) if error.line is None else BadLine(error.line, outcome)


def parts_to_ask(lines: Sequence[str], *, of: int, part: bool) -> list[Sequence[str]]:
    """The batches in which the lines of a refused file are asked again, where none is to blame.

    The same lines once more, for it may have been a passing trouble; then, each as a ``part``, in
    halves. None where the file had only one line, which is the one to blame; the last one that is
    left ``of`` several may be innocent, for the others may be in another part by now.
    """
    if not part or (len(lines) == 1 and of > 1):
        return [lines]
    if len(lines) < 2:
        return []
    middle = (len(lines) + 1) // 2
    return [lines[:middle], lines[middle:]]


def split_budget(lines: int) -> int:
    """How many parts may be made of a refused file of so many lines to find one bad line in it.

    Once more as a whole and both halves at each level is one less. It is spent once for the file,
    and once more for each part that passes: a cause that all lines share ends within the first.
    """
    return 2 * math.ceil(math.log2(max(lines, 1))) + 2


def _limit_in(message: str) -> int | None:
    # "Limit: 2,000,000 enqueued tokens." (openai-python#2084)
    found = re.search(r"[Ll]imit: *([\d,]+)", message)
    return int(found[1].replace(",", "")) if found else None
