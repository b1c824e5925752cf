"""examples/backfill.py on servers and a worker of its own: `make backfill ROWS=1000`."""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from demo.services import Interrupted, Interruption, ServiceFailed, Services

APP = "examples.backfill"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.backfill", description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    rows = parser.parse_args().rows
    try:
        with tempfile.TemporaryDirectory(prefix="batchq-backfill-") as directory:
            return run(rows, Path(directory), Interruption())
    except Interrupted:
        return 130
    except ServiceFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1


def run(rows: int, directory: Path, interruption: Interruption) -> int:
    source, target = directory / "tickets.csv", directory / "answers.jsonl"
    write_rows(source, rows)
    with Services(directory, interruption, batch_seconds=2, app=APP, flower=False) as services:
        services.start()
        program = subprocess.Popen([sys.executable, "-m", APP, source, target])
        try:
            while program.poll() is None:
                interruption.sleep(0.2)
                services.check()
        finally:
            program.terminate()
            program.wait()
    lines = target.read_text().splitlines()
    sys.stdout.write("".join(f"{line}\n" for line in lines[:3]))
    sys.stdout.write(f"{len(lines):,} answers to {rows:,} rows\n")
    return program.returncode or len(lines) != rows


def write_rows(path: Path, rows: int) -> None:
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("id", "text"))
        lines.writerows((number, f"My invoice {number} is wrong.") for number in range(rows))


if __name__ == "__main__":
    sys.exit(main())
