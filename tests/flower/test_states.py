"""BATCHED on Flower's own pages, in a headless Chromium: a state as any other, until it is over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from batchq import control
from batchq.journal import journal_of
from tests.flower.browser import Browser, chromium
from tests.flower.site import Site
from tests.harness import Stack, wait_until
from tests.journals import LANE

LISTED = "#tasks-table tbody tr[id]"


@pytest.fixture
def browser(stack: Stack) -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def states(browser: Browser) -> dict[str, str]:
    """The tasks that Flower's list shows, each with its badge."""
    return {
        str(row.get_attribute("id")): row.find_element("css selector", ".badge").text
        for row in browser.all(LISTED)
    }


def shown(browser: Browser, site: Site, sent: dict[str, str], *, state: str = "") -> None:
    """Flower's list, and what it says under a filter, is this."""

    def drawn() -> bool:
        return bool(browser.all(LISTED)) or "No tasks" in browser.text("#tasks-table tbody")

    def same() -> bool:
        # By its name: a worker that stands in for beat runs tasks of ours too.
        browser.open(site, f"/tasks?name=say&state={state}")
        browser.until(drawn, "Flower has drawn its list")
        return states(browser) == sent

    browser.until(same, f"Flower lists {sent}")


def test_a_task_is_batched_while_it_waits_and_never_after(stack: Stack, browser: Browser) -> None:
    """One is answered, one fails by its answer, one is revoked while it waits, on its page."""
    app = stack.app("tests.apps.flower")
    control.hold(app, LANE)
    site = Site(stack)
    stack.worker("tests.apps.flower")
    say = app.tasks["say"]
    sent: list[Any] = [say.delay(text) for text in ("good", "bad", "unwanted")]
    good, bad, unwanted = sent
    ids = [result.id for result in sent]
    wait_until(lambda: journal_of(app).waiting.count() == 3, description="all of them wait")

    shown(browser, site, dict.fromkeys(ids, "BATCHED"))
    browser.click('[data-task-state="BATCHED"]')
    browser.until(lambda: len(states(browser)) == 3, "all of them are left by the filter")
    assert browser.one('[data-task-state="BATCHED"]').get_attribute("aria-pressed") == "true"
    shown(browser, site, {}, state="SUCCESS")

    browser.open(site, f"/task/{unwanted.id}")
    assert browser.text(".badge.batchq-batched") == "BATCHED"
    browser.click('form[action$="/act/revoke"] button')
    browser.click('dialog button[value="yes"]')
    browser.toast("is revoked")
    wait_until(lambda: unwanted.state == "REVOKED", description="it is revoked")
    browser.until(lambda: not browser.all(".batchq-batched"), "its page says BATCHED no more")
    assert not browser.all('form[action$="/act/revoke"]')
    browser.one(f'a[href="/batches/task/{unwanted.id}"]').click()
    browser.until(lambda: browser.text("#task-state") == "REVOKED", "its prompts have a page")

    stack.emulator.fault("line_error", containing="bad", status=400)
    control.release(app, LANE)
    wait_until(lambda: good.ready() and bad.ready(), description="both have ended")
    after = {good.id: "SUCCESS", bad.id: "FAILURE", unwanted.id: "REVOKED"}
    shown(browser, site, after)
    shown(browser, site, {}, state="BATCHED")
    for task_id, state in after.items():
        browser.open(site, f"/task/{task_id}")
        assert browser.text("#task-page .badge") == state
