"""The pages as Flower serves them, asked over HTTP."""

from __future__ import annotations

import re
import threading
from types import SimpleNamespace
from typing import Any, Self

import httpx
import pytest

from batchq.errors import ConfigurationError, NotFound
from batchq.flower.base import _told, why_read_only
from batchq.flower.urls import pages
from batchq.journal import Journal, journal_of
from tests.flower.scene import NIGHTLY, REPORTS, TICKETS, Scene, busy
from tests.flower.site import Site
from tests.harness import Stack, wait_until
from tests.journals import capture_many

PAGES = ("/", "/tasks", "/broker", "/batches")


@pytest.fixture(scope="module")
def journal(shared_stack: Stack) -> Journal:
    return journal_of(shared_stack.app("tests.apps.flower"))


@pytest.fixture(scope="module")
def site(shared_stack: Stack, journal: Journal) -> Site:
    busy(journal)
    return Site(shared_stack)


@pytest.fixture(scope="module")
def open_site(shared_stack: Stack, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Without authentication, under a prefix, asked for by a flowerconfig.py."""
    config = tmp_path_factory.mktemp("flower") / "flowerconfig.py"
    config.write_text("import batchq.flower\nbatchq.flower.install()\n")
    return Site(
        shared_stack, f"--conf={config}", module="tests.apps.plain", user=None, prefix="deep/ops"
    )


def parts(site: Site, query: str = "") -> dict[str, str]:
    """The parts of the page, as the page itself asks for them."""
    found: dict[str, dict[str, str]] = site.get(f"/batches/live?{query}").json()["parts"]
    return {name: part["html"] for name, part in found.items()}


# Who may


def test_the_nav_of_every_page_has_an_entry(site: Site) -> None:
    for path in PAGES:
        assert re.search(r'href="/batches"\s*(aria-current="page")?>Batches<', site.get(path).text)


def test_nobody_gets_anywhere_without_credentials(site: Site) -> None:
    for page in pages():
        path = re.sub(r"\(.*?\)", "flush", page.regex.pattern.rstrip("$"))
        answers = [httpx.get(site.url + path), httpx.post(site.url + path)]
        if path == "/metrics":
            assert answers[0].status_code == 200, "as Flower's own: a scraper has no session"
        elif "static" in path:
            assert answers[0].status_code in {200, 404}
        else:
            assert {answer.status_code for answer in answers} <= {401, 403, 405}, path
            assert answers[0].status_code in {401, 405}, path


@pytest.mark.parametrize("accepted", ["text/html", "application/json"])
def test_a_browser_is_told_what_to_log_in_to(site: Site, accepted: str) -> None:
    """Who came by a link to a batch has logged in there, and then acted elsewhere: it was a 401
    without a challenge, to which no browser gives the credentials that it has.
    """
    answer = httpx.get(site.url + "/batches/live", headers={"Accept": accepted})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")


STRANGERS: list[dict[str, str]] = [
    {"X-XSRFToken": ""},
    {"X-XSRFToken": "2|aaaaaaaa|bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb|1700000000"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", STRANGERS, ids=lambda headers: "-".join(headers.values()))
def test_another_site_can_do_nothing(site: Site, journal: Journal, headers: dict[str, str]) -> None:
    """A browser sends the credentials of basic auth with whatever a page elsewhere posts."""
    for verb, name in (("hold", REPORTS.name), ("release", NIGHTLY.name), ("flush", "")):
        answer = site.post(f"/batches/act/{verb}", name=name, headers=headers)
        assert answer.status_code == 403, answer.text
    assert journal.lanes.held() == {NIGHTLY}
    assert journal.lanes.since_everything() is None


def test_what_acts_is_never_a_get(site: Site) -> None:
    assert site.get("/batches/act/flush").status_code == 405


def test_our_pages_are_for_our_own_site_only(open_site: Site) -> None:
    answer = open_site.get("/batches", headers={"Origin": "https://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize(
    ("options", "open_api", "why"),
    [
        ({"basic_auth": ["a:b"]}, False, ""),
        ({"auth": ".*@example"}, False, ""),
        ({}, True, ""),
        ({}, False, "without authentication"),
        ({"basic_auth": ["a:b"], "read_only": True}, False, "--read_only"),
    ],
)
def test_who_may_act_is_flowers_own_rule(
    options: dict[str, Any], why: str, *, open_api: bool
) -> None:
    known = SimpleNamespace(**({"basic_auth": None, "auth": "", "read_only": False} | options))
    handler: Any = SimpleNamespace(
        application=SimpleNamespace(options=known), unauthenticated_api=open_api
    )
    found = why_read_only(handler)
    assert why in found
    assert bool(found) == bool(why)


def test_without_authentication_everything_is_shown_and_nothing_done(
    open_site: Site, journal: Journal
) -> None:
    """As with Flower's own buttons: whoever reaches a port is not yet an operator."""
    text = open_site.get("/batches").text
    assert re.search(r"<button[^>]*disabled title=\"Flower runs without authentication", text)
    answer = open_site.post("/batches/act/hold", name=REPORTS.name)
    assert answer.status_code == 403
    assert "FLOWER_UNAUTHENTICATED_API" in answer.json()["message"]
    assert journal.lanes.held() == {NIGHTLY}


# Where


def test_every_address_is_under_the_prefix(open_site: Site) -> None:
    text = open_site.get("/batches").text
    ours = re.findall(r'(?:href|src|action|data-live)="([^"#]*batch[^"]*)"', text)
    assert len(ours) > 20
    assert [address for address in ours if not address.startswith("/deep/ops/batches")] == []
    for name in ("batchq.css", "batchq.js"):
        assert open_site.get(f"/batches/static/{name}").status_code == 200


# What it says


def test_the_page_shows_lanes_and_batches(site: Site) -> None:
    text = site.get("/batches").text
    for name in (TICKETS.name, NIGHTLY.name, "validating", "cancelling", "completed", "median of"):
        assert name in text
    assert len(re.findall(r'<tr data-key="[0-9a-f]{16}">', text)) == 50


def test_the_address_chooses(site: Site) -> None:
    found = parts(site, "state=open&account=research")
    assert found["batches"].count("<tr data-key") == 1
    assert "of 1 batch<" in found["batches"]
    lanes = re.findall(r'<tr data-key="([^"]+)"', found["lanes"])
    assert lanes == [REPORTS.name]
    none = parts(site, "find=0b2c<script>")
    assert "No batch fits the filter" in none["batches"]
    assert "<script>" not in none["batches"] + none["filters"]


def test_what_has_not_changed_is_not_sent_again(site: Site, journal: Journal) -> None:
    journal.beat.note()
    first = site.get("/batches/live?fresh=1").json()["parts"]
    assert set(first) == {"alerts", "strip", "lanes", "dead", "filters", "batches"}
    have = ",".join(part["digest"] for part in first.values())
    again = site.get("/batches/live", params={"have": have})
    assert again.json()["parts"] == {}
    assert len(again.content) < 100
    capture_many(journal, 1, lane=REPORTS)
    new = site.get("/batches/live", params={"have": have, "fresh": "1"}).json()["parts"]
    # The alerts may say by then that beat is away.
    assert set(new) - {"alerts"} == {"strip", "lanes"}


@pytest.mark.parametrize(
    ("verb", "name", "status", "words"),
    [
        ("hold", "no such lane", 404, "There is no lane 'no such lane'"),
        ("cancel", "no-such-batch", 404, "There is no batch"),
        ("retry", "nobody", 404, "There is no dead task or batch 'nobody'"),
        ("revoke", "nobody", 404, "There is no task"),
        ("eat", "it", 404, "Not Found"),
        ("hold", "", 404, "There is no lane ''"),
    ],
)
def test_an_action_on_what_is_not_there_says_so(
    site: Site, verb: str, name: str, status: int, words: str
) -> None:
    answer = site.post(f"/batches/act/{verb}", name=name)
    assert answer.status_code == status
    assert words in answer.json()["message"]


def test_an_action_without_a_script_answers_with_a_page(site: Site, journal: Journal) -> None:
    answer = site.post("/batches/act/hold", name=NIGHTLY.name, headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "was held already" in answer.text
    assert "<nav" in answer.text


def test_errors_are_told_in_words_and_without_values() -> None:
    assert _told(NotFound("lane", "x"))[0] == 404
    status, words = _told(ConfigurationError("batchq_tick", None, "accepted is a number"))
    assert status == 500
    assert "batchq_tick: accepted is a number" in words
    assert _told(ValueError("sk-secret")) == (0, "")


# How long it takes


class Ping:
    """Asks Flower for something of its own, all the while; `answers` counts how often it came."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.answers = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._over.is_set():
                assert client.get(f"{self._site.url}/healthcheck").text == "OK"
                self.answers += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_a_redis_that_hangs_is_a_page_that_says_so_and_flower_goes_on(
    shared_stack: Stack, site: Site
) -> None:
    """Flower has one loop: who waits in it stops everybody's pages, and the events of workers."""
    shared_stack.server.pause()
    try:
        with Ping(site) as ping:
            wait_until(lambda: ping.answers, description="it is asked all the while")
            before = ping.answers
            live = site.get("/batches/live?fresh=1", headers={"Accept": "application/json"})
            meanwhile = ping.answers - before
            page = site.get("/batches")
    finally:
        shared_stack.server.resume()
    assert (live.status_code, page.status_code) == (503, 503)
    assert live.json() == {"message": "Redis does not answer."}
    assert "Redis does not answer" in page.text
    assert "<nav" in page.text
    # One may have been asked before and be answered after it.
    assert meanwhile > 1, "others were answered while this one waited for Redis"
    wait_until(lambda: site.get("/batches").status_code == 200, description="it is back")


def test_ten_thousand_batches_are_one_page(site: Site, journal: Journal) -> None:
    """`python -m benchmarks.many_batches` says how long it takes."""
    Scene(journal, seed=11).closed(10_000)
    with Ping(site) as ping:
        wait_until(lambda: ping.answers, description="it is asked all the while")
        before = ping.answers
        wait_until(
            lambda: "of 10,2" in parts(site, "fresh=1")["batches"], description="all are read"
        )
        assert ping.answers > before + 1, "others were answered while they were read"
        for query in ("", "page=200", "sort=-saved", "state=failed&sort=-prompts", "task=none"):
            assert parts(site, query)["batches"]
    assert "being read" not in parts(site)["batches"]
    assert "page 200 of 20" in parts(site, "page=200")["batches"]
