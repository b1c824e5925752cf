"""Pictures of the pages, for docs/images.

python -m tests.flower.pictures
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from demo.texts import manual
from tests.flower.browser import NARROW, WIDE, Browser, chromium
from tests.harness import Emulator, ReservedPort, Server, Stack, talk_to

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A page, named after one of the batches or tasks of `Filled` where it is about one."""

    name: str
    path: str
    theme: str = "light"
    size: tuple[int, int] = WIDE
    height: int = 900


PICTURES = (
    Picture(name="batch", path="/batches/batch/{over}", height=1240),
    Picture(name="batch-narrow", path="/batches/batch/{running}", theme="dark", size=NARROW),
    Picture(name="task", path="/batches/task/{answered}", height=1200),
    Picture(name="charts", path="/batches/charts", height=1500),
    Picture(name="charts-dark", path="/batches/charts?past=1h", theme="dark", height=1500),
)
OVERVIEW = (
    Picture(name="batches", path="/batches", height=1560),
    Picture(name="batches-dark", path="/batches?state=open", theme="dark", height=800),
    Picture(name="batches-narrow", path="/batches", size=NARROW),
)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="batchq-pictures-") as folder, stack(folder) as running:
        # Only now: the app reads the addresses of the servers when it is imported.
        from tests.flower.filled import fill, steps_of, write_past
        from tests.flower.scene import busy
        from tests.flower.site import Site

        steps = steps_of(running)
        write_past(steps)
        paragraphs = (text for section in manual() for text in section.paragraphs)
        filled = fill(steps, questions=tuple(islice(paragraphs, 400)))
        site = Site(running, module="tests.apps.flower_prompts")
        names = {name: getattr(filled, name) for name in filled.__annotations__}
        IMAGES.mkdir(exist_ok=True)
        with chromium() as browser:
            for picture in PICTURES:
                browser.open(site, picture.path.format(**names))
                take(browser, picture)
            # Only now, for all that waits and is open shows in the charts.
            busy(steps.journal)
            for picture in OVERVIEW:
                browser.open(site, picture.path)
                take(browser, picture)


def take(browser: Browser, picture: Picture) -> None:
    """The top of a page, as far as the picture is high."""
    browser.size(picture.size[0], picture.height)
    browser.theme(picture.theme)
    browser.one(".batchq-page")
    browser.driver.save_screenshot(str(IMAGES / f"{picture.name}.png"))


@contextmanager
def stack(folder: str) -> Iterator[Stack]:
    """A Redis and an emulator of our own, on which the apps of the tests are."""
    redis, emulated = ReservedPort(), ReservedPort()
    talk_to(redis, emulated)
    server = Server(redis, Path(folder))
    emulator = Emulator(emulated, "--validate-seconds", "2", "--run-seconds", "8")
    emulator.start()
    running = Stack(server, emulator, Path(folder))
    try:
        yield running
    finally:
        running.stop()
        emulator.stop()
        server.stop()


if __name__ == "__main__":
    main()
