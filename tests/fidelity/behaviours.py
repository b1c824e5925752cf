"""What people rely on in Celery, each as a short function that is run with both kinds of task.

What a function returns must be the same for both, and so must all that was seen of the tasks whose
results it looked at or watches (matrix.py: state, result, signals, hooks, events).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from celery import chain, chord, group
from celery.exceptions import TimeoutError  # noqa: A004
from celery.result import allow_join_result

if TYPE_CHECKING:
    from tests.fidelity.matrix import Place

Function = Callable[["Place"], Any]

#: Why some are tried in some pools only. It is the same without Batchq.
NO_LIMITS = {
    "threads": "Celery has no time limits in the threads pool",
    "solo": "Celery has no time limits in the solo pool",
    "gevent": "Celery has no soft time limits in the gevent pool, and a hard one is raised there",
}
ONE_THING = {"solo": "nothing else runs while a live call is slow"}
ONE_PROCESS = {
    "threads": "the process of the task is the whole worker",
    "solo": "the process of the task is the whole worker",
    "gevent": "the process of the task is the whole worker",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """``waits``: it is run while batches are stuck and live calls are slow, and says when it has
    seen enough (`Place.go_on`). ``but_not_in``: pools for which it says nothing, and why.
    """

    name: str
    run: Function
    waits: bool = False
    but_not_in: dict[str, str] = field(default_factory=dict[str, str])


BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(
    *, waits: bool = False, but_not_in: dict[str, str] | None = None
) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        name = function.__name__.removeprefix("_")
        BEHAVIOURS[name] = Behaviour(
            name=name, run=function, waits=waits, but_not_in=but_not_in or {}
        )
        return function

    return add


# Canvases: only the result is asked for


def _canvas(name: str, make: Callable[[Any], Any]) -> None:
    def run(at: Place) -> Any:
        return at.end(make(at.kind).apply_async())

    BEHAVIOURS[name] = Behaviour(name=name, run=run)


for _name, _make in {
    "single": lambda kind: kind.say.s("apples from the north"),
    "two_calls": lambda kind: kind.refine.s("apples from the north"),
    "group": lambda kind: group(
        kind.say.s("apples from the north"), kind.say.s("blue whales"), kind.upper.s("cold")
    ),
    "chain_first": lambda kind: chain(kind.say.s("apples from the north"), kind.upper.s()),
    "chain_middle": lambda kind: chain(
        kind.upper.s("apples from the north"), kind.say.s(), kind.upper.s()
    ),
    "chain_last": lambda kind: chain(kind.upper.s("apples from the north"), kind.say.s()),
    "chain_all_along": lambda kind: chain(
        kind.say.s("apples from the north"), kind.say.s(), kind.say.s()
    ),
    "chain_immutable": lambda kind: chain(kind.say.s("apples"), kind.say.si("bears")),
    "chord_simple": lambda kind: chord(
        [kind.say.s(text) for text in ("apples", "bears", "caves")], kind.join.s()
    ),
    "chord_mixed": lambda kind: chord(
        [kind.say.s("apples from the north"), kind.upper.s("blue whales")], kind.join.s()
    ),
    "chord_batched_body": lambda kind: chord(
        [kind.upper.s("apples from the north"), kind.say.s("blue whales")], kind.summarise.s()
    ),
    "chord_two_calls": lambda kind: chord(
        [kind.refine.s("apples from the north"), kind.say.s("blue whales")], kind.join.s()
    ),
    "chord_of_chains": lambda kind: chord(
        [
            chain(kind.say.s("apples from the north"), kind.say.s()),
            chain(kind.upper.s("blue whales"), kind.say.s()),
        ],
        kind.join.s(),
    ),
    "chord_nested": lambda kind: chord(
        [
            chord([kind.say.s("apples from the north"), kind.say.s("blue whales")], kind.join.s()),
            kind.say.s("cold mornings"),
        ],
        kind.join.s(),
    ),
    "chain_group_chord": lambda kind: chain(
        kind.upper.s("apples from the north"),
        group(kind.say.s(), kind.upper.s()),
        kind.summarise.s(),
        kind.upper.s(),
    ),
    "replace": lambda kind: kind.replace.s("apples from the north"),
    "replace_in_chain": lambda kind: chain(
        kind.upper.s("apples from the north"), kind.replace.s(), kind.upper.s()
    ),
    "replace_in_chord": lambda kind: chord(
        [kind.replace.s("apples from the north"), kind.say.s("blue whales")], kind.join.s()
    ),
    "replace_by_chord": lambda kind: kind.replace_by_chord.s("apples from the north"),
    "replace_by_chain": lambda kind: kind.replace_by_chain.s("apples from the north"),
    "arguments_the_body_changes": lambda kind: kind.mutate.s(
        ["apples", "bears", "caves"], last={"text": "deep lakes", "rest": "e"}
    ),
    "a_partial_of_keywords": lambda kind: kind.mutate.s(["a", "b"]).clone(
        kwargs={"last": {"text": "c"}}
    ),
    "its_own_state": lambda kind: kind.progress.s("Half of it."),
    "track_started": lambda kind: kind.started.s("It has begun."),
    "autoretry_with_backoff": lambda kind: kind.backs_off.s("Back off."),
    "retries_exhausted": lambda kind: kind.never_works.s("Never."),
    "self_retry": lambda kind: kind.tries_again.s("Once more."),
    "self_retry_with_countdown": lambda kind: kind.tries_again.s("Once more.", countdown=1),
    "self_retry_in_vain": lambda kind: kind.tries_in_vain.s("In vain."),
    "self_retry_with_other_arguments": lambda kind: kind.tries_otherwise.s("Otherwise."),
    "retry_in_chain": lambda kind: chain(
        kind.upper.s("once more"), kind.backs_off.s(), kind.types_of.s()
    ),
    "an_error_after_the_answer": lambda kind: kind.fail_after.s("It fails."),
    "an_expected_error": lambda kind: kind.fail_as_expected.s("It fails as expected."),
    "an_error_before_the_next_in_a_chain": lambda kind: chain(
        kind.fail_after.s("It fails."), kind.say.s()
    ),
}.items():
    _canvas(_name, _make)


@behaviour()
def eager(at: Place) -> Any:
    result = at.kind.refine.apply(("Now.",))
    return [type(result).__name__, result.state, result.get()]


@behaviour()
def called_as_a_function(at: Place) -> Any:
    return at.kind.refine("Now.")


@behaviour()
def results_of_a_group_are_read_one_by_one(at: Place) -> Any:
    result: Any = group(at.kind.say.s(text) for text in ("one", "two", "three")).apply_async()
    result.save()
    with allow_join_result():
        read = result.join(timeout=at.patience)
    found = at.app.GroupResult.restore(result.id)
    return [read, found.successful(), found.completed_count()]


@behaviour()
def the_tree_of_results(at: Place) -> Any:
    kind = at.kind
    result: Any = chain(
        kind.say.s("apples").set(link=kind.upper.s()), kind.spawn.s(at.key("spawned"))
    ).apply_async()
    ended = at.end(result)
    at.notes("spawned", 1)
    at.watch(result.parent, "first")
    return [
        ended,
        result.parent.get(timeout=at.patience),
        sorted(str(child.get(timeout=at.patience)) for child in result.parent.children),
        len(result.children),
        result.get_leaf(),
    ]


# Errors, and who hears of them


@behaviour()
def chord_header_fails(at: Place) -> Any:
    kind = at.kind
    body = kind.join.s().on_error(kind.note_error.s(at.key("told")))
    result: Any = chord([kind.fail_after.s("a"), kind.say.s("b")], body).apply_async()
    told = [told[2:] for told in at.notes("told", 1)]
    return [at.end(result), [at.end(member) for member in result.parent], told]


@behaviour()
def chord_header_fails_while_another_works(at: Place) -> Any:
    kind = at.kind
    body = kind.join.s().on_error(kind.note_error.s(at.key("told")))
    result: Any = chord([kind.fail.s("no"), kind.say.s("b")], body).apply_async()
    told = [told[2:] for told in at.notes("told", 1)]
    return [at.end(result), [at.end(member) for member in result.parent], told]


@behaviour()
def chord_body_fails(at: Place) -> Any:
    kind = at.kind
    body = kind.fail_after.s().on_error(kind.note_error.s(at.key("told")))
    result = chord([kind.say.s("a"), kind.upper.s("b")], kind.join.s() | body).apply_async()
    return [at.end(result), at.notes("told", 1)]


@behaviour()
def link_error_of_both_styles(at: Place) -> Any:
    kind = at.kind
    result = kind.fail_after.apply_async(
        ("a",), link_error=[kind.note_error.s(at.key("told")), kind.note_failed_id.s()]
    )
    ended = at.end(result)
    return [ended, at.notes("told", 1), at.notes(f"failed:{result.id}", 1, ours=False)]


@behaviour()
def link_error_of_a_chain(at: Place) -> Any:
    kind = at.kind
    canvas = chain(kind.upper.s("a"), kind.fail_after.s(), kind.say.s())
    result = canvas.on_error(kind.note_error.s(at.key("told"))).apply_async()
    ended = at.end(result.parent)
    at.later(lambda: result.state)
    return [ended, at.notes("told", 1)]


@behaviour()
def link_error_after_retries(at: Place) -> Any:
    kind = at.kind
    result = kind.never_works.apply_async(("a",), link_error=kind.note_error.s(at.key("told")))
    return [at.end(result), at.notes("told", 1)]


# What follows a task


@behaviour()
def links(at: Place) -> Any:
    kind = at.kind
    result = kind.say.apply_async(
        ("a",), link=[kind.note_result.s(at.key("one")), kind.note_result.s(at.key("two"))]
    )
    return [at.end(result), at.notes("one", 1), at.notes("two", 1)]


@behaviour()
def links_to_a_task_that_asks(at: Place) -> Any:
    kind = at.kind
    follower = kind.say.s().set(link=kind.note_result.s(at.key("end")))
    result = kind.say.apply_async(("a",), link=follower)
    ended = at.end(result)
    told = at.notes("end", 1)
    return [ended, told[0][0], told[0][1] != result.id]


@behaviour()
def a_task_sent_by_a_task(at: Place) -> Any:
    result = at.kind.spawn.delay("a", at.key("spawned"))
    return [at.end(result), at.notes("spawned", 1)]


@behaviour()
def ignore_result_of_the_task(at: Place) -> Any:
    result = at.kind.silent.delay("Quietly.", at.key("told"))
    at.watch(result)
    at.later(lambda: result.state)
    return at.notes("told", 1)


@behaviour()
def ignore_result_of_the_call(at: Place) -> Any:
    result = at.kind.noted.apply_async(("Quietly.", at.key("told")), ignore_result=True)
    at.watch(result)
    at.later(lambda: result.state)
    return at.notes("told", 1)


@behaviour()
def ignore_result_in_a_chain(at: Place) -> Any:
    kind = at.kind
    chain(kind.upper.s("quietly"), kind.silent.s(at.key("told"))).apply_async()
    return at.notes("told", 1)


@behaviour()
def the_body_raises_ignore(at: Place) -> Any:
    result = at.kind.ignore_after.delay("Never mind.", at.key("told"))
    at.watch(result)
    at.later(result.ready)
    return at.notes("told", 1)


@behaviour()
def the_body_raises_reject(at: Place) -> Any:
    result = at.kind.reject_after.delay("Not for me.", at.key("told"))
    at.watch(result)
    at.later(result.ready)
    return at.notes("told", 1)


# When


@behaviour()
def countdown(at: Place) -> Any:
    sent_at = time.time()
    ended = at.end(at.kind.say.apply_async(("Later.",), countdown=1))
    return [ended, time.time() - sent_at > 1]


@behaviour()
def eta(at: Place) -> Any:
    sent_at = time.time()
    moment = datetime.now(UTC) + timedelta(seconds=1)
    ended = at.end(at.kind.say.apply_async(("Later.",), eta=moment))
    return [ended, time.time() - sent_at > 0.9]


@behaviour()
def expires_in_time(at: Place) -> Any:
    return at.end(at.kind.describe.apply_async(("In time.",), expires=600))


@behaviour()
def expires_before_it_begins(at: Place) -> Any:
    return at.end(at.kind.say.apply_async(("Too late.",), expires=datetime.now(UTC)))


@behaviour(waits=True, but_not_in=ONE_THING)
def expires_while_it_waits(at: Place) -> Any:
    """It had begun in time; its answer is paid for."""
    expires_at = time.time() + 3
    result = at.kind.say.apply_async(("In time.",), expires=3)
    at.wait_until_it_waits(result)
    at.wait_until(lambda: time.time() > expires_at + 0.1, "the task has expired")
    at.go_on()
    return at.end(result)


@behaviour(waits=True)
def get_with_a_timeout_while_it_waits(at: Place) -> Any:
    result = at.kind.say.delay("Wait for me.")
    at.wait_until_it_waits(result)
    try:
        result.get(timeout=0.3)
    except TimeoutError as error:
        seen = [str(error), result.ready(), result.successful(), result.failed()]
    at.go_on()
    return [seen, at.end(result)]


@behaviour(waits=True, but_not_in=ONE_THING)
def a_chord_is_not_ready_while_one_waits(at: Place) -> Any:
    kind = at.kind
    result: Any = chord([kind.upper.s("a"), kind.say.s("b")], kind.join.s()).apply_async()
    at.wait_until(result.parent[0].ready, "the other member has ended")
    at.wait_until_it_waits(result.parent[1])
    seen = [result.ready(), result.parent.ready(), result.parent.completed_count()]
    at.go_on()
    return [seen, at.end(result)]


@behaviour(waits=True, but_not_in=ONE_THING)
def a_group_is_read_while_one_waits(at: Place) -> Any:
    kind = at.kind
    result: Any = group(kind.upper.s("a"), kind.say.s("b")).apply_async()
    at.wait_until_it_waits(result[1])
    first = result[0].get(timeout=at.patience)
    seen = [first, result.waiting(), result.ready()]
    at.go_on()
    return [seen, at.end(result)]


# What it was called with


def _described(name: str, **options: Any) -> None:
    def run(at: Place) -> Any:
        result = at.kind.describe.apply_async(("Who are you?",), **options)
        return [at.end(result), at.meta(result)]

    BEHAVIOURS[name] = Behaviour(name=name, run=run)


_described("a_call_with_nothing_special")
_described("custom_queue", queue="special")
_described("topic_exchange", queue="topical", routing_key="question.of.taste")
_described("priority", priority=6)
_described("argsrepr", argsrepr="('***',)", kwargsrepr="{'***'}")
_described("custom_headers", headers={"traceparent": "00-1-2-01"})
_described("time_limits", time_limit=50, soft_time_limit=40)
_described("shadow", shadow="another.name")
_described("compression_gzip", compression="gzip")
_described("compression_bzip2", compression="bzip2", serializer="pickle")
_described("retries", retries=2)
_described("reply_to", reply_to="somewhere")


@behaviour()
def stamped_headers(at: Place) -> Any:
    signature = at.kind.describe.s("Stamped.")
    signature.stamp(user="u1", run=["r1", "r2"])
    return at.end(signature.apply_async())


@behaviour()
def stamped_headers_of_a_canvas(at: Place) -> Any:
    kind = at.kind
    canvas = chord([kind.say.s("a"), kind.describe.s("b")], kind.echo.s())
    canvas.stamp(user="u1")
    return at.end(canvas.apply_async())


@behaviour()
def headers_through_a_retry(at: Place) -> Any:
    result = at.kind.backs_off.apply_async(
        ("Again.",), headers={"traceparent": "00-1-2-01"}, queue="special", priority=3
    )
    return at.end(result)


@behaviour()
def a_secret_argument(at: Place) -> Any:
    """A masked argument stays out of the log and of the events, in every run of the body."""
    secret = f"secret of {at.kind.name}"
    result = at.kind.noted.apply_async(
        (secret, at.key("told")), argsrepr="('***',)", kwargsrepr="{}", ignore_result=True
    )
    at.notes("told", 1)
    at.watch(result)
    at.later(lambda: [at.logged(result, secret), at.sent_as_event(result, secret)])


@behaviour()
def pickle(at: Place) -> Any:
    """JSON has no sets; where the app allows pickle, the message stays pickled."""
    return at.end(at.kind.lengths.apply_async(({"a", "bb"},), serializer="pickle"))


@behaviour()
def msgpack(at: Place) -> Any:
    return at.end(at.kind.types_of.apply_async(("a", 1, 2.5, [None]), serializer="msgpack"))


@behaviour()
def yaml(at: Place) -> Any:
    moment = datetime(2026, 11, 24, tzinfo=UTC).replace(tzinfo=None)
    return at.end(at.kind.types_of.apply_async(("a", moment, {"b": 1}), serializer="yaml"))


@behaviour()
def json_of_more_types(at: Place) -> Any:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    return at.end(at.kind.types_of.delay(Decimal("1.5"), moment, timedelta(1).total_seconds()))


# Acknowledgement, limits, lost processes


@behaviour(but_not_in=NO_LIMITS)
def soft_time_limit(at: Place) -> Any:
    return at.end(at.kind.too_long.delay("Too long."))


@behaviour(but_not_in=NO_LIMITS)
def soft_time_limit_that_the_body_catches(at: Place) -> Any:
    return at.end(at.kind.ends_in_time.delay("Nearly too long."))


@behaviour(but_not_in=NO_LIMITS)
def hard_time_limit(at: Place) -> Any:
    kind = at.kind
    result = kind.killed.apply_async(("Far too long.",), link_error=kind.note_failed_id.s())
    ended = at.end(result)
    at.later(lambda: at.notes(f"failed:{result.id}", 1, ours=False))
    return ended


@behaviour(but_not_in=NO_LIMITS)
def hard_time_limit_in_a_chord(at: Place) -> Any:
    kind = at.kind
    header = [kind.killed.s("Far too long."), kind.say.s("b")]
    result: Any = chord(header, kind.join.s()).apply_async()
    return [at.end(result), [at.end(member) for member in result.parent]]


@behaviour(but_not_in=ONE_PROCESS)
def acks_late_and_the_process_dies(at: Place) -> Any:
    result = at.kind.dies_late.delay("Twice.")
    return at.end(result)


@behaviour(but_not_in=ONE_PROCESS)
def acks_early_and_the_process_dies(at: Place) -> Any:
    result = at.kind.dies_early.delay("Once.")
    return at.end(result)


# Revokes (tests/test_revoke.py has more). A live task that waits is one whose time has not come.


def _wait_to_be_revoked(at: Place, result: Any) -> None:
    at.wait_until_it_waits(result)
    if at.kind.name == "live":
        at.wait_until(lambda: at.is_scheduled(result), "it waits for its time")


@behaviour(waits=True, but_not_in=ONE_THING)
def revoke_while_it_waits(at: Place) -> Any:
    wait = {"countdown": 60} if at.kind.name == "live" else {}
    result = at.kind.say.apply_async(("Never mind.",), **wait)
    _wait_to_be_revoked(at, result)
    result.revoke()
    ended = at.end(result, watched=False)
    at.go_on()
    at.later(lambda: at.app.AsyncResult(result.id).state)
    return ended
