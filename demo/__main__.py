"""The whole of Batchq on one machine: `make demo`. No key, no Docker, no root, nothing left behind.

Starts a Valkey server, an emulator of the Batch API, a worker, beat and Flower; sends a chord of
more than a thousand tasks; shows where their prompts are until the last one is resolved; and
points at the Batches page in Flower, which has it all.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from demo import texts
from demo.display import Display
from demo.services import Interrupted, Interruption, ServiceFailed, Services
from demo.texts import Section


def main() -> int:
    options = arguments()
    interruption = Interruption()
    console = Console(highlight=False)
    try:
        sections = texts.manual() if options.input is None else texts.read(options.input)
        with (
            tempfile.TemporaryDirectory(prefix="batchq-demo-") as directory,
            Services(
                Path(directory), interruption, batch_seconds=options.batch_seconds
            ) as services,
        ):
            console.print("starting Valkey, the emulator, a worker, beat and Flower ...")
            services.start()
            run(sections, services, interruption, console)
            console.print(f"\nall of it is on the Batches page: {services.flower}/batches")
            if console.is_terminal if options.keep is None else options.keep:
                console.print("look around; Ctrl-C ends everything")
                stay(services, interruption)
        console.print("\nEverything is stopped; make demo KEEP=1 leaves it up to look around")
    except Interrupted:
        console.print("\nended; nothing is left running")
        return 130
    except (ServiceFailed, OSError, ValueError) as error:
        console.print(f"the demo failed: {error}", style="red", markup=False)
        return 1
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--input", type=Path, help="a .txt, .csv or .jsonl file to work on")
    parser.add_argument(
        "--keep",
        action=argparse.BooleanOptionalAction,
        help="stay up until Ctrl-C (usual: where somebody looks, which is a terminal)",
    )
    parser.add_argument(
        "--batch-seconds",
        type=float,
        default=5,
        help="what a batch takes; with the real API minutes to hours (usual: %(default)s)",
    )
    return parser.parse_args()


def stay(services: Services, interruption: Interruption) -> NoReturn:
    while True:
        interruption.sleep(1)
        services.check()


def run(
    sections: list[Section], services: Services, interruption: Interruption, console: Console
) -> None:
    # Only now: the app reads the addresses of the servers when it is imported.
    from demo import report
    from demo.work import Work

    work = Work(sections)
    console.print(f"sending {work.tasks:,} tasks; Flower shows them on {services.flower}\n")
    started = time.monotonic()
    work.send()
    with Display(console) as display:
        while not work.done():
            display.show(work.numbers())
            services.check()
            interruption.sleep(0.25)
        display.show(work.numbers(), last=True)
    report.show(console, work, seconds=time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
