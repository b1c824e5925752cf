"""`python -m batchq.emulator`"""

import asyncio
import sys


def main() -> None:
    try:
        from batchq.emulator.app import serve
        from batchq.emulator.command_line import parse
    except ModuleNotFoundError as error:
        if error.name not in ("tornado", "jsonschema"):
            raise
        raise SystemExit(
            f"The emulator needs {error.name}: pip install 'batchq[emulator]'"
        ) from None
    asyncio.run(serve(parse(sys.argv[1:])))


if __name__ == "__main__":
    main()
