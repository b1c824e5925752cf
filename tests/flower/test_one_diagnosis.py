"""One diagnosis: what is wrong is the same sentence, of the same level, wherever it is shown.

`check`, Flower's alerts, `status().findings` and the notices each decided what is wrong by rules
and in words of their own: a dead task was a danger in Flower and a warning in `check`, and an error
in Batchq itself was nothing at all to `status().findings`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

import batchq
from batchq.common.troubles import Trouble
from batchq.events import AccountPaused
from batchq.journal import Journal, journal_of
from tests.commands import Commands
from tests.flower.site import Site
from tests.harness import Stack, wait_until
from tests.journals import LANE, capture, claim

MODULE = "tests.apps.flower"
CREDIT = Trouble("credit", "insufficient_quota")
MINUTE = timedelta(minutes=1)


def pause(journal: Journal) -> None:
    journal.pauses.begin(LANE, CREDIT, batch="b", met_in="file", pauses=(MINUTE, MINUTE))


def kill_a_task(journal: Journal) -> None:
    for _ in range(3):
        lease, _ = claim(journal, "kills")
        journal.store.redis.delete(lease.key)
    lease, _ = claim(journal, "kills")
    journal.runs.bury("kills", token=lease.token, message=b"m", state="FAILURE")


def err(journal: Journal) -> None:
    journal.own_errors.note(TypeError())


def leave_a_batch(journal: Journal) -> None:
    capture(journal)
    limits = journal.store.config.accounts["default"].limits
    journal.lanes.seal(LANE, "left", limits=limits, tokens=10**9)
    eleven_minutes_ago = journal.clock.now() - 11 * 60_000
    journal.store.redis.zadd(journal.store.key("batches"), {"left": eleven_minutes_ago})


def send_beat_away(journal: Journal) -> None:
    journal.store.redis.set(journal.store.key("beat"), journal.clock.now() - 600_000)


def let_it_evict(journal: Journal) -> None:
    journal.store.redis.config_set("maxmemory-policy", "allkeys-lru")


TROUBLES: dict[Callable[[Journal], None], tuple[str, str, str]] = {
    pause: (
        *("lanes", "problem"),
        "account default is paused, because its credit is used up or its bill is not paid",
    ),
    kill_a_task: ("tasks", "problem", "1 task is dead: set aside until somebody looks"),
    err: ("batchq", "warning", "Batchq itself has failed with TypeError at elsewhere, 1 time"),
    leave_a_batch: ("batches", "problem", "nobody takes the next step of batch left"),
    send_beat_away: ("beat", "problem", "beat is away, and no worker stands in: nothing is"),
    let_it_evict: ("redis", "problem", "maxmemory-policy is allkeys-lru, which throws away"),
}

Said = set[tuple[str, str, str]]
"""Level, what is wrong, what to do."""


ALERT = r'batchq-alert-(\w+)" .*?>(.*?)<span class="batchq-sub">(.*?)</span>'


def in_check(stack: Stack) -> Said:
    skip = ("--skip", "workers", "--skip", "provider")
    told = Commands(stack.app(MODULE)).json("check", *skip, code=1)["checks"]
    about = {trouble[0] for trouble in TROUBLES.values()}
    return {
        (one["level"], one["what"], one["do"])
        for one in told
        if one["about"] in about and one["level"] in {"problem", "warning"}
    }


def in_status(stack: Stack) -> Said:
    found = batchq.status(stack.app(MODULE)).findings
    return {(one.level, one.what, one.do) for one in found if one.level != "info"}


def in_flower(site: Site) -> Said:
    html = site.get("/batches/live?fresh=1").json()["parts"]["alerts"]["html"]
    alerts = re.findall(ALERT, html, re.DOTALL)
    return {
        (level, sentence(what), unescape(re.sub("</?code>", "`", do))) for level, what, do in alerts
    }


def sentence(html: str) -> str:
    """What stands there, without since when."""
    what, _, _ = html.partition(", for <time")
    return unescape(re.sub(r"<.*?>", "", what)).strip()


@pytest.fixture
def journal(stack: Stack) -> Iterator[Journal]:
    yield journal_of(stack.app(MODULE))
    stack.server.client.config_set("maxmemory-policy", "noeviction")


def test_the_same_trouble_is_the_same_sentence_everywhere(stack: Stack, journal: Journal) -> None:
    site = Site(stack)

    def all_is_well() -> bool:
        journal.beat.note()
        return in_status(stack) == in_flower(site) == set()

    wait_until(all_is_well, description="nothing is said")
    for plant in TROUBLES:
        plant(journal)
    shown = in_check(stack)
    assert shown == in_status(stack)
    assert shown == in_flower(site)
    for about, level, words in TROUBLES.values():
        found = batchq.status(stack.app(MODULE)).findings
        hits = [one for one in found if (one.about, one.level) == (about, level)]
        assert [words in one.what for one in hits] == [True], (about, level, hits)
    assert len(shown) == len(TROUBLES), shown


def test_a_notice_says_it_in_the_same_words() -> None:
    _, _, words = TROUBLES[pause]
    at = datetime.now(UTC)
    known = {"account": "default", "lane": LANE.name, "batch": "b"}
    event = AccountPaused(at=at, reason=CREDIT.reason, code=CREDIT.code, **known)
    assert str(event).startswith(words)
