"""Flower's page of metrics has Batchq's, and does not hold its loop up for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from batchq.journal import journal_of
from batchq.observe.catalogue import METRICS
from tests.flower.site import Site
from tests.harness import Stack, wait_until
from tests.journals import LANE, capture
from tests.scrapes import Scrape, scrape

APP = "tests.apps.flower"


@pytest.fixture(scope="module")
def site(shared_stack: Stack) -> Site:
    capture(journal_of(shared_stack.app(APP)))
    return Site(shared_stack, prefix="deep")


def page(site: Site) -> Scrape:
    return Scrape.of_text(site.get("/metrics").text)


def test_the_first_scrape_has_the_names_of_any_registry(site: Site, shared_stack: Stack) -> None:
    found = page(site)
    assert found.value("up") == 1
    assert found.value("prompts", LANE, state="waiting") == 1
    ours = {name for name in found.names if name.startswith("batchq_")}
    assert ours == scrape(shared_stack.app(APP)).names
    assert "process_cpu_seconds_total" in found.names, "Flower's own are there too"
    assert len(ours) > len(METRICS) - 5


def test_each_scrape_is_of_now(site: Site, shared_stack: Stack) -> None:
    before = page(site).value("captured_total")
    capture(journal_of(shared_stack.app(APP)))
    wait_until(
        lambda: page(site).value("captured_total") == before + 1,
        description="it is there",
    )


def test_the_loop_goes_on_while_redis_says_nothing(site: Site, shared_stack: Stack) -> None:
    shared_stack.server.pause()
    try:
        with ThreadPoolExecutor(1) as pool:
            wait_until(
                partial(away_and_nobody_waited, site, pool), description="a scrape finds it away"
            )
    finally:
        shared_stack.server.resume()
    wait_until(lambda: page(site).value("up") == 1, description="it is back")


def away_and_nobody_waited(site: Site, pool: ThreadPoolExecutor) -> bool:
    """True where a scrape had to wait for Redis; others did not wait for the scrape."""
    scraped = pool.submit(page, site)
    assert httpx.get(f"{site.url}/healthcheck", timeout=5).status_code == 200
    others_waited = scraped.done()
    if scraped.result().value("up") == 1:
        return False  # From the last reading: it was less than a second ago.
    assert not others_waited
    return True
