"""A headless Chromium. Debian's packages chromium and chromium-driver; without them, a skip."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from tests.flower.site import Site
from tests.harness import Stack, wait_until

T = TypeVar("T")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: It stays on this machine: no updates, no synchronization, no first-run pages.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
    # Else Bootstrap scrolls for a while, and a click meets what is not there any more.
    "--force-prefers-reduced-motion",
)
PAGE = "return document.body.innerText.replace(/\\s+/g, ' ').slice(0, 2000)"
WIDE, NARROW = (1440, 900), (400, 860)


class Browser:
    """Chromium on one Flower, as the user who is logged in there."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    @property
    def pid(self) -> int:
        """Its driver's."""
        return int(self.driver.service.process.pid)

    def open(self, site: Site, path: str) -> None:
        """Load a page; who needs credentials gives them in the address, as people do."""
        parts = urlsplit(site.url)
        user = f"{site.user.replace(' ', '%20')}@" if site.user else ""
        self.driver.get(f"{parts.scheme}://{user}{parts.netloc}{parts.path}{path}")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The one element that is shown, once there is one."""

        def shown() -> WebElement | None:
            found = [element for element in self.all(selector) if element.is_displayed()]
            return found[0] if len(found) == 1 else None

        return self.until(shown, f"one {selector}")

    def click(self, selector: str) -> None:
        """Click, again where the page was changed just then."""

        def clicked() -> bool:
            element = self.one(selector)
            # Else it may come to lie under Flower's bar.
            self.run("arguments[0].scrollIntoView({block: 'center'})", element)
            element.click()
            return True

        self.until(clicked, f"{selector} is clicked")

    def until(self, condition: Callable[[], T | None], description: str) -> T:
        def steady() -> T | None:
            try:
                return condition()
            except StaleElementReferenceException:
                return None  # It was replaced while it was looked at.
            except WebDriverException as error:
                # So chromedriver says it now and then.
                if "does not belong to the document" in str(error):
                    return None
                raise

        try:
            return wait_until(steady, description=description, timeout=15)
        except AssertionError as error:
            error.add_note(f"{self.run('return location.pathname')} says: {self.run(PAGE)}")
            raise

    def choose(self, name: str, value: str) -> None:
        """Choose an option of the field of that name."""
        Select(self.one(f'select[name="{name}"]')).select_by_value(value)

    def text(self, selector: str) -> str:
        return self.until(lambda: (self.one(selector).text,), f"the text of {selector}")[0]

    def toast(self, containing: str) -> str:
        """The message of an action."""

        def said() -> str | None:
            texts = [element.text for element in self.all(".toast-body")]
            return next((text for text in texts if containing in text), None)

        return self.until(said, f"a message with {containing!r}")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def size(self, width: int, height: int) -> None:
        self.driver.set_window_size(width, height)

    def theme(self, name: str) -> None:
        """Flower's own choice of a theme, as its menu stores it."""
        self.run("document.documentElement.setAttribute('data-bs-theme', arguments[0])", name)

    def errors(self) -> list[str]:
        """What the page's scripts complained about since the last look."""
        log: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


@contextmanager
def chromium(beside: Stack | None = None) -> Generator[Browser]:
    """A browser with a profile of its own; ``beside`` is a stack that it outlives a test with."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    with tempfile.TemporaryDirectory(prefix="batchq-chromium-") as profile:
        options = Options()
        options.binary_location = CHROMIUM
        for option in (*OPTIONS, f"--user-data-dir={Path(profile, 'profile')}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service(DRIVER))
        try:
            browser = Browser(driver)
            browser.size(*WIDE)
            if beside is not None and beside.lasting is not None:
                beside.lasting.append(browser)
            yield browser
        finally:
            driver.quit()
