"""The pages of one batch and of one task, and the charts, in Flower and in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from threading import Timer
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from celery.states import REVOKED

from batchq.journal import Journal
from batchq.prompt import Lane
from batchq.settings.limits import Limits
from tests.flower.browser import NARROW, WIDE, Browser, chromium
from tests.flower.filled import Filled, ask, fill, steps_of, write_past
from tests.flower.site import Site
from tests.harness import Stack, wait_until
from tests.journals import LANE, chat
from tests.test_flow import Steps

SCRIPT = "<script>document.title='taken'</script>"
HOSTILE = Lane(account="default", endpoint="/v1/chat/completions", model="m", label=SCRIPT)


@pytest.fixture(scope="module")
def steps(shared_stack: Stack) -> Steps:
    return steps_of(shared_stack)


@pytest.fixture(scope="module")
def filled(steps: Steps) -> Filled:
    write_past(steps, days=4, minutes=90)
    return fill(steps)


@pytest.fixture(scope="module")
def journal(steps: Steps, filled: Filled) -> Journal:
    return steps.journal


@pytest.fixture(scope="module")
def site(shared_stack: Stack, filled: Filled) -> Site:
    """Flower as most run it: nobody reads prompts."""
    return Site(shared_stack)


@pytest.fixture(scope="module")
def open_site(shared_stack: Stack, filled: Filled) -> Site:
    """Flower behind a proxy, where the operator lets prompts be read."""
    return Site(shared_stack, module="tests.apps.flower_prompts", prefix="ops")


@pytest.fixture(scope="module")
def browser(shared_stack: Stack) -> Iterator[Browser]:
    with chromium(shared_stack) as browser:
        yield browser


def pages(filled: Filled) -> dict[str, str]:
    batches = {name: getattr(filled, name) for name in ("over", "refused", "running", "aside")}
    tasks = {name: getattr(filled, name) for name in ("waits", "dead", "failed", "ended")}
    return {
        **{name: f"/batches/batch/{batch_id}" for name, batch_id in batches.items()},
        **{name: f"/batches/task/{task_id}" for name, task_id in tasks.items()},
        "revoked": f"/batches/task/{filled.revoked}",
        "charts": "/batches/charts?past=1h",
    }


# Over HTTP


def test_nobody_sees_them_without_credentials(site: Site, filled: Filled) -> None:
    for path in pages(filled).values():
        assert httpx.get(site.url + path).status_code == 401, path


def test_each_says_what_it_is(site: Site, filled: Filled) -> None:
    said = {
        "over": "rate_limit_exceeded",
        "refused": "invalid_json_line",
        "running": "Next poll",
        "aside": "3 steps on it killed their workers",
        "waits": "waits for 2 of 2 answers",
        "dead": "waits for somebody to retry it",
        "failed": "invalid_value",
        "ended": "ended: SUCCESS",
        "revoked": "revoked",
        "charts": "Cost and saved, the last 30 days",
    }
    for name, path in pages(filled).items():
        found = site.get(path)
        assert (found.status_code, said[name] in found.text) == (200, True), name


def test_what_nobody_knows_is_a_helpful_404(site: Site, steps: Steps) -> None:
    task = site.get("/batches/task/nobody")
    assert task.status_code == 404
    assert "batchq_keep_done" in task.text
    assert "Celery knows nothing of it either" in task.text
    steps.app.backend.store_result("only-in-celery", "x", "SUCCESS")
    assert "SUCCESS" in site.get("/batches/task/only-in-celery").text
    batch = site.get("/batches/batch/nobody")
    assert batch.status_code == 404
    assert "batchq_keep_batches" in batch.text
    hostile = site.get("/batches/task/%3Cscript%3E")
    assert (hostile.status_code, "<script>\n" in hostile.text) == (404, False)
    assert "&lt;script&gt;" in hostile.text


@pytest.mark.parametrize("query", ["page=0", "page=-3", "page=x", "page=²", "page=99999", "call=x"])
def test_a_page_that_makes_no_sense_is_one_that_does(
    site: Site, filled: Filled, query: str
) -> None:
    for name in ("running", "waits"):
        assert site.get(f"{pages(filled)[name]}?{query}").status_code == 200
    assert site.get(f"/batches/charts?past={query}").status_code == 200


def test_texts_are_shown_only_where_the_operator_lets_them(
    site: Site, open_site: Site, filled: Filled
) -> None:
    path = pages(filled)["waits"]
    assert "the first question" not in site.get(path).text
    assert "batchq_show_prompts" in site.get(path).text
    assert "the first question" in open_site.get(path).text
    for one in pages(filled).values():
        text = site.get(one).text
        assert not re.search(r"question \d|running \d|it kills", text), one


def test_links_stay_below_the_prefix(open_site: Site, filled: Filled) -> None:
    for path in pages(filled).values():
        text = open_site.get(path).text
        links = re.findall(r'(?:href|src|action)="(/[^"]*)"', text)
        assert links
        assert all(link.startswith("/ops/") for link in links), path


def test_what_users_write_is_text(open_site: Site, journal: Journal, steps: Steps) -> None:
    """A prompt, an answer, the name of a task and a label are written by somebody else."""
    task_id = ask(journal, chat(SCRIPT), name=SCRIPT, lane=HOSTILE)
    batch_id = f"hostile-{task_id}"
    journal.lanes.seal(HOSTILE, batch_id, limits=Limits(), tokens=10**9)
    lease = journal.batches.begin(batch_id)
    assert lease is not None
    journal.batches.note_object(batch_id, {"id": SCRIPT, "status": "</code></pre>" + SCRIPT})
    record = journal.batches.get(batch_id)
    assert record is not None
    codes = '{"<b>": [1, ["' + f"{task_id}-0" + '"]]}'
    fields = {"status": SCRIPT, "note": SCRIPT, "tasks": f'{{"{SCRIPT}": 1}}', "codes": codes}
    tally = {"batches": 1, "le:60": 1, "turnaround": 1}
    assert journal.batches.close(record, lease, tally=tally, **fields) == "CLOSED"
    for path in (f"/batches/task/{task_id}", f"/batches/batch/{batch_id}", "/batches/charts"):
        text = open_site.get(path).text
        assert "&lt;script&gt;document.title" in text, path
        assert SCRIPT not in text, path


def test_an_id_may_have_a_slash_in_it(site: Site, journal: Journal, filled: Filled) -> None:
    """Users choose ids: `apply_async(task_id="report/2026 ü")`."""
    task_id = ask(journal, chat("x"), task_id="report/2026 ü")
    found = site.get(f"/batches/task/{quote(task_id, safe='')}")
    assert found.status_code == 200
    assert task_id in found.text


def test_what_redis_holds_may_be_rubbish(site: Site, steps: Steps) -> None:
    """Somebody else has written into our keys: a page says so, and the others go on."""
    client, journal = steps.server.client, steps.journal
    client.hset(journal.store.batch_keys("rubbish")[0], mapping={"lane": "no lane"})
    client.hset(journal.store.task_key("rubbish"), mapping={"0:record": "{", "name": "\ud7ff"})
    assert site.get("/batches/batch/rubbish").status_code in {404, 500}
    assert "the record" in site.get("/batches/batch/rubbish").text
    assert site.get("/batches/task/rubbish").status_code == 200
    client.delete(journal.store.batch_keys("rubbish")[0], journal.store.task_key("rubbish"))


# In a browser


def test_pages_fit_and_their_scripts_run(browser: Browser, open_site: Site, filled: Filled) -> None:
    for name, path in pages(filled).items():
        browser.size(*WIDE)
        browser.open(open_site, path)
        assert browser.one("h1").text
        for theme, width in (("light", WIDE), ("dark", NARROW)):
            browser.theme(theme)
            browser.size(*width)
            most, here = browser.run(
                "return [document.documentElement.scrollWidth, window.innerWidth]"
            )
            assert most <= here, f"{name} is wider than {width}"
        assert browser.errors() == [], name
    browser.size(*WIDE)


def test_text_is_readable_in_both_themes(browser: Browser, open_site: Site) -> None:
    """What a chart writes on its axes has a contrast of 4.5 to 1, as WCAG asks."""
    for theme in ("light", "dark"):
        browser.open(open_site, "/batches/charts?past=1h")
        browser.theme(theme)
        for one in (".batchq-chart text", ".batchq-remark", ".batchq-said"):
            assert browser.run(CONTRAST, one) >= 4.5, (theme, one)


CONTRAST = """
    const visible = (one) => one.getClientRects().length > 0;
    const element = [...document.querySelectorAll(arguments[0])].find(visible);
    const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
    const light = (colour) => {
      const [r, g, b] = parts(colour).map((c) => c / 255)
        .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const style = getComputedStyle(element);
    const ink = light(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    let under = element;
    while (/, 0\\)|transparent/.test(getComputedStyle(under).backgroundColor)) {
      under = under.parentElement;
    }
    const paper = light(getComputedStyle(under).backgroundColor);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
"""


def test_the_way_from_the_list_to_a_prompt(browser: Browser, site: Site, filled: Filled) -> None:
    browser.open(site, "/batches")
    browser.click(f'a[href$="/batch/{filled.over}"]')
    browser.one("#batch-cost")
    assert "$" in browser.text("#batch-saved")
    browser.click(f'#batch-prompts a[href*="{filled.failed}"][href*="#call-0"]')
    assert "invalid_value" in browser.text("#call-0")
    assert browser.driver.current_url.endswith("call=0#call-0")
    browser.click(f'#call-0 a[href$="/batch/{filled.over}"]')
    assert "completed" in browser.text("#batch-state")


def test_prompts_of_a_batch_are_on_pages(browser: Browser, site: Site, filled: Filled) -> None:
    browser.open(site, f"/batches/batch/{filled.running}")
    assert len(browser.all("#batch-prompts tbody tr")) == 50
    browser.click('a[rel="next"]')
    browser.until(lambda: "Page 2 of 3" in browser.text(".batchq-pager"), "the second page")
    assert browser.all("#batch-prompts tbody td")[0].text == "51"


def test_the_providers_own_words_can_be_opened(
    browser: Browser, site: Site, filled: Filled
) -> None:
    browser.open(site, f"/batches/batch/{filled.over}")
    browser.click("#provider-object summary")
    assert '"object": "batch"' in browser.text("#provider-object pre")


def test_charts_can_be_read_in_three_ways(browser: Browser, open_site: Site) -> None:
    browser.open(open_site, "/batches")
    browser.click('a[href$="/batches/charts"]')
    browser.one("#where")
    assert "Last 24 hours" in browser.text('[aria-current="page"].task-state-filter')
    browser.click('a.task-state-filter[href*="past=1h"]')
    browser.until(
        lambda: "Last hour" in browser.text('[aria-current="page"].task-state-filter'), "an hour"
    )
    charts = [one for one in browser.all("#where svg") if one.is_displayed()]
    assert len(charts) == 1, "of the two widths one is shown"
    assert "waiting" in (charts[0].get_attribute("aria-label") or "")
    tip = browser.run("return arguments[0].querySelector('.tip title').textContent", charts[0])
    assert re.search(r"waiting \d+; in batches \d+", tip)
    browser.click("#where summary")
    assert "Waiting, most" in browser.text("#where table")
    assert len(browser.all("#where tbody tr")) > 30
    browser.size(*NARROW)
    (narrow,) = [one for one in browser.all("#where svg") if one.is_displayed()]
    assert narrow != charts[0]
    browser.size(*WIDE)


def test_a_page_of_a_batch_follows_it(browser: Browser, site: Site, steps: Steps) -> None:
    lane = Lane(account="default", endpoint="/v1/chat/completions", model="followed")
    journal = steps.journal
    ask(journal, chat("one"), chat("two"), lane=lane)
    journal.lanes.seal(lane, "followed", limits=Limits(), tokens=10**9)
    browser.open(site, "/batches/batch/followed")
    assert browser.text("#batch-state") == "sealed"
    browser.run("window.still = true")
    lease = journal.batches.begin("followed")
    assert lease is not None

    hour = timedelta(hours=1)
    journal.batches.advance(
        "followed", lease, due=hour, state="submitted", status="in_progress", completed=1
    )
    browser.until(lambda: browser.text("#batch-state") == "in progress", "its state is shown")
    assert browser.run("return window.still"), "without loading the page again"


# What an operator does


def test_a_batch_is_cancelled(
    browser: Browser, site: Site, filled: Filled, journal: Journal
) -> None:
    browser.open(site, f"/batches/batch/{filled.running}")
    browser.click("form.batchq-act button")
    browser.click(".batchq-dialog button[value='']")
    record = journal.batches.get(filled.running)
    assert record is not None
    assert not record.cancel_at, "whoever goes back has cancelled nothing"
    browser.click("form.batchq-act button")
    browser.click(".batchq-dialog button[value='yes']")
    browser.toast("being cancelled")
    record = journal.batches.get(filled.running)
    assert record is not None
    assert record.cancel_at
    assert LANE in journal.lanes.held()
    browser.until(lambda: "asked for its end" in browser.text(".batchq-alert"), "the page says so")
    assert not browser.all("form.batchq-act")


def test_what_killed_its_workers_is_retried(
    browser: Browser, site: Site, filled: Filled, journal: Journal
) -> None:
    browser.open(site, f"/batches/batch/{filled.aside}")
    browser.click("form.batchq-act button")
    browser.toast("tried again")
    record = journal.batches.get(filled.aside)
    assert record is not None
    assert not record.dead_at
    browser.until(lambda: browser.text("#batch-state") == "sealed", "it is back")
    browser.open(site, f"/batches/task/{filled.dead}")
    browser.click("form.batchq-act button")
    browser.toast("tried again")
    assert journal.tasks.dead() == []
    browser.until(lambda: "on its way" in browser.text("#task-word"), "it goes on")
    assert browser.text("#task-state") == "BATCHED"


def test_whoever_goes_on_after_an_action_is_not_taken_back(
    browser: Browser, site: Site, steps: Steps
) -> None:
    """What acted is shown anew after two seconds: a page that is on its way then comes all the
    same, however long Flower takes.
    """
    task_id = ask(steps.journal, chat("waits too"))
    browser.open(site, f"/batches/task/{task_id}")
    browser.click("form.batchq-act button")
    browser.click(".batchq-dialog button[value='yes']")
    browser.toast("revoked")
    site.process.pause()
    later = Timer(4, site.process.resume)
    later.start()
    browser.open(site, "/batches/charts?past=1h")
    later.join()
    assert "Charts" in browser.text("h1")


def test_a_waiting_task_is_revoked(
    browser: Browser, site: Site, shared_stack: Stack, steps: Steps
) -> None:
    # A worker that hears what is said to all, and takes nothing else.
    worker = shared_stack.worker("tests.apps.flower", pool="solo", queues=("nothing",))
    task_id = ask(steps.journal, chat("waits"))
    browser.open(site, f"/batches/task/{task_id}")
    browser.click("form.batchq-act button")
    browser.click(".batchq-dialog button[value='yes']")
    browser.toast("revoked")
    result: Any = steps.app.AsyncResult(task_id)
    wait_until(lambda: result.state == REVOKED, description="it is revoked")
    browser.until(lambda: browser.text("#task-state") == REVOKED, "the page says so")
    assert not browser.all("form.batchq-act")
    worker.stop()
