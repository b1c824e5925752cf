"""The Batches page in a headless Chromium: every part of it, and every action."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest

from batchq.journal import Journal, journal_of
from tests.flower.browser import NARROW, WIDE, Browser, chromium
from tests.flower.scene import NIGHTLY, REPORTS, TICKETS, Scene, busy
from tests.flower.site import Site
from tests.harness import Stack
from tests.journals import capture_many


@pytest.fixture(scope="module")
def journal(shared_stack: Stack) -> Journal:
    return journal_of(shared_stack.app("tests.apps.flower"))


@pytest.fixture(scope="module")
def scene(journal: Journal) -> Scene:
    return busy(journal)


@pytest.fixture(scope="module")
def _browser(shared_stack: Stack) -> Iterator[Browser]:
    with chromium(shared_stack) as browser:
        yield browser


@pytest.fixture(scope="module")
def site(_browser: Browser, shared_stack: Stack, scene: Scene) -> Site:
    return Site(shared_stack)


@pytest.fixture
def browser(_browser: Browser, site: Site) -> Iterator[Browser]:
    """On the Batches page; its scripts have nothing to complain of."""
    _browser.open(site, "/batches")
    _browser.one("#batchq-batches")
    yield _browser
    assert _browser.errors() == []


def ids(browser: Browser) -> list[str]:
    """The batches that are shown, from the top."""
    return [str(row.get_attribute("data-key")) for row in browser.all("#batchq-batches tbody tr")]


def other_than(before: list[str], browser: Browser) -> bool:
    return ids(browser) != before


def query(browser: Browser) -> dict[str, list[str]]:
    return parse_qs(urlsplit(browser.driver.current_url).query)


def row(lane_or_batch: str) -> str:
    return f'tr[data-key="{lane_or_batch}"]'


def button(of: str, verb: str) -> str:
    return f'{row(of)} form[action$="/act/{verb}"] button'


# Looking


def test_what_happens_is_seen_without_a_reload(browser: Browser, journal: Journal) -> None:
    browser.run("window.stayed = true")
    before = journal.lanes.all()
    waiting = next(record.prompts for record in before if record.lane == REPORTS)
    capture_many(journal, 3, lane=REPORTS)
    cell = f'{row(REPORTS.name)} [data-label="Waiting"]'
    # Their bytes stand below.
    shown = str(waiting + 3)
    browser.until(lambda: browser.text(cell).split()[0] == shown, "the new prompts are shown")
    assert browser.run("return window.stayed"), "it is the same page"


def test_ages_go_on(browser: Browser) -> None:
    cell = f'{row(REPORTS.name)} [data-label="Oldest"] time'
    first = browser.text(cell)
    browser.until(lambda: browser.text(cell) != first, "it is older")


def test_filters_stand_in_the_address_and_survive_a_reload(browser: Browser, site: Site) -> None:
    browser.click('a[data-state="open"]')
    browser.until(lambda: len(ids(browser)) == 5, "only the open ones are left")
    assert query(browser) == {"state": ["open"]}
    browser.choose("account", "research")
    browser.until(lambda: len(ids(browser)) == 1, "and of them only one account's")
    assert query(browser) == {"state": ["open"], "account": ["research"]}
    browser.driver.refresh()
    assert len(ids(browser)) == 1
    assert browser.one('select[name="account"]').get_attribute("value") == "research"
    browser.driver.back()
    browser.until(lambda: len(ids(browser)) == 5, "back is back")
    assert browser.one('select[name="account"]').get_attribute("value") == ""
    browser.one('input[name="find"]').send_keys("no-such-batch")
    browser.until(lambda: not ids(browser), "nothing has that name")
    assert "no-such-batch" in browser.text(".batchq-empty a")


def test_a_heading_sorts(browser: Browser) -> None:
    link = ", ".join(f'#batchq-batches th a[href*="sort={way}prompts"]' for way in ("", "-"))
    before = ids(browser)
    for sort in ("-prompts", "prompts"):
        browser.click(link)
        browser.until(partial(other_than, before, browser), "the order is another")
        assert query(browser) == {"sort": [sort]}
        cells = browser.all('#batchq-batches [data-label="Prompts"]')
        counts = [int(cell.text.replace(",", "")) for cell in cells]
        assert counts == sorted(counts, reverse=sort.startswith("-"))
        assert len(browser.all("#batchq-batches th[aria-sort]")) == 1
        before = ids(browser)


def test_pages_are_turned(browser: Browser) -> None:
    first = ids(browser)
    assert len(first) == 50
    browser.click('a[rel="next"]')
    browser.until(lambda: not set(first) & set(ids(browser)), "the next ones are shown")
    assert query(browser) == {"page": ["2"]}
    browser.click('a[rel="prev"]')
    browser.until(lambda: ids(browser) == first, "and the first again")


def test_what_has_the_focus_keeps_it_while_the_page_changes(
    browser: Browser, journal: Journal
) -> None:
    """Who is about to press a button must not lose it to somebody else's prompt."""
    target = button(TICKETS.name, "flush")
    browser.run("document.querySelector(arguments[0]).focus()", target)
    capture_many(journal, 1, lane=TICKETS)
    cell = f'{row(TICKETS.name)} [data-label="Waiting"]'
    before = browser.text(cell)
    browser.until(lambda: browser.text(cell) != before, "the page has changed")
    assert browser.run("return document.activeElement.matches(arguments[0])", target)


def test_a_tab_that_nobody_sees_asks_for_nothing(browser: Browser) -> None:
    browser.run(
        "window.asked = 0; const real = window.fetch;"
        "window.fetch = (...args) => { window.asked += 1; return real(...args); };"
    )
    browser.until(lambda: browser.run("return window.asked") > 0, "it asks while it is seen")
    hide = (
        "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'));"
    )
    browser.run(hide, True)
    asked = browser.run("window.asked = 0; window.ticks = 0; setInterval(() => ticks++, 1000);")
    browser.until(lambda: browser.run("return window.ticks") >= 4, "it would have asked by now")
    asked = browser.run("return window.asked")
    assert asked <= 1, "but for what was under way"
    browser.run(hide, False)
    browser.until(lambda: browser.run("return window.asked") > asked, "it asks again at once")


def test_the_dark_theme_is_dark(browser: Browser) -> None:
    browser.click("#theme-toggle")
    browser.click('[data-bs-theme-value="dark"]')

    def light(selector: str, what: str) -> float:
        color = browser.run(
            "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
            *(selector, what),
        )
        return sum(float(part) for part in color.split("(")[1].rstrip(")").split(",")[:3]) / 3

    try:
        browser.until(lambda: light(".batchq-card", "backgroundColor") < 60, "cards are dark")
        for text in (".batchq-model", ".batchq-sub", button(TICKETS.name, "flush")):
            assert light(text, "color") > 140, f"{text} can be read"
    finally:
        browser.click("#theme-toggle")
        browser.click('[data-bs-theme-value="light"]')


def test_a_wide_screen_has_room_for_every_column(browser: Browser) -> None:
    """The buttons of the batches lay beyond the edge: an id of 32 signs took their place."""
    for table in ("#batchq-lanes", "#batchq-batches"):
        widths = browser.run(
            "const box = document.querySelector(arguments[0]).parentElement;"
            "return [box.scrollWidth, box.clientWidth]",
            table,
        )
        assert widths[0] <= widths[1], table


def test_a_narrow_screen_shows_everything_below_each_other(browser: Browser) -> None:
    browser.size(*NARROW)
    try:
        browser.until(
            lambda: not browser.all("#batchq-lanes thead")[0].is_displayed(), "rows are cards"
        )
        widths = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1], "nothing is beyond the edge"
        for selector in (f"{row(TICKETS.name)} td", button(TICKETS.name, "hold")):
            assert all(element.is_displayed() for element in browser.all(selector))
    finally:
        browser.size(*WIDE)


def test_flower_that_is_gone_is_said_and_its_return_is_seen(browser: Browser) -> None:
    browser.run("window.real = fetch; window.fetch = () => Promise.reject(new TypeError());")
    live = "#batchq-live-status"
    browser.until(lambda: browser.text(live) == "Flower does not answer", "it is said")
    browser.run("window.fetch = window.real; document.dispatchEvent(new Event('visibilitychange'))")
    browser.until(lambda: browser.text(live) == "Live", "it is live again")


# Acting


def test_a_lane_is_held_and_released(browser: Browser, journal: Journal) -> None:
    browser.click(button(REPORTS.name, "hold"))
    browser.toast("is held: nothing leaves it")
    assert REPORTS in journal.lanes.held()
    browser.until(lambda: browser.all(button(REPORTS.name, "release")), "it can be released")
    assert "held" in browser.text(f'{row(REPORTS.name)} [data-label="Next flush"]')
    browser.click(button(REPORTS.name, "release"))
    browser.toast(f"{REPORTS.name} is released")
    assert REPORTS not in journal.lanes.held()


def test_a_lane_is_flushed(browser: Browser, journal: Journal) -> None:
    browser.click(button(TICKETS.name, "flush"))
    browser.toast("is on its way into batches")
    (record,) = [one for one in journal.lanes.all() if one.lane == TICKETS]
    assert record.called is not None
    cell = f'{row(TICKETS.name)} [data-label="Next flush"]'
    browser.until(lambda: "was asked for" in browser.text(cell), "the page says so")


def test_all_lanes_are_flushed_once_somebody_has_agreed(browser: Browser, journal: Journal) -> None:
    browser.click('.page-header form[action$="/act/flush"] button')
    assert "Lanes that are held wait" in browser.text("dialog p")
    browser.click('dialog button[value=""]')
    browser.until(lambda: not browser.all("dialog"), "it is gone")
    assert journal.lanes.since_everything() is None
    browser.click('.page-header form[action$="/act/flush"] button')
    browser.click('dialog button[value="yes"]')
    browser.toast("All that waits is on its way")
    assert journal.lanes.since_everything() is not None


def test_a_batch_is_cancelled(browser: Browser, journal: Journal) -> None:
    (batch,) = [one for one in journal.batches.open() if one.lane == REPORTS]
    browser.click(button(batch.id, "cancel"))
    assert "billed" in browser.text("dialog p")
    browser.click('dialog button[value="yes"]')
    browser.toast(f"Batch {batch.id} is being cancelled")
    record = journal.batches.get(batch.id)
    assert record is not None
    assert record.cancel_at > 0
    assert {REPORTS, NIGHTLY} <= journal.lanes.held(), "what is not answered stays in its lane"
    state = f'{row(batch.id)} [data-label="State"]'
    browser.until(lambda: "cancelling" in browser.text(state), "the page says so")
    assert not browser.all(button(batch.id, "cancel"))


def test_the_dead_are_tried_again(browser: Browser, journal: Journal, scene: Scene) -> None:
    batch_id = scene.opened(TICKETS, 5, age=60_000)
    for _ in range(3):  # Three workers begin a step on it and die.
        lease = journal.batches.begin(batch_id)
        assert lease is not None
        journal.store.redis.delete(lease.key)
    assert journal.batches.begin(batch_id) is None
    browser.until(lambda: browser.all("#batchq-dead-table"), "the dead are shown")
    assert "set aside" in browser.text(f"#batchq-dead-table {row(batch_id)}")
    browser.click(f"#batchq-dead-table {button(batch_id, 'retry')}")
    browser.click('dialog button[value="yes"]')
    browser.toast(f"{batch_id} is tried again")
    browser.until(lambda: not browser.all("#batchq-dead-table"), "nobody is dead any more")
    record = journal.batches.get(batch_id)
    assert record is not None
    assert not record.dead_at


def test_what_is_gone_meanwhile_is_said(browser: Browser) -> None:
    browser.run(
        "document.querySelector(arguments[0]).closest('form').elements.name.value = 'gone'",
        button(TICKETS.name, "hold"),
    )
    browser.click(button(TICKETS.name, "hold"))
    browser.toast("There is no lane 'gone' to act on")
    assert [entry for entry in browser.errors() if "404" not in entry] == []
