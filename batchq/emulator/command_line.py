"""The command line of an emulator, read once."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchq.emulator.catalogue import CATALOGUE
from batchq.emulator.faults import check_options
from batchq.emulator.options import Options
from batchq.emulator.problems import Refusal
from batchq.emulator.shapes import JsonObject


def parse(arguments: Sequence[str]) -> Options:
    given = _parser().parse_args(arguments)
    faults: dict[str, JsonObject] = {}
    for text in given.faults:
        faults.update(parse_faults(text))
    for name, options in faults.items():
        _check_fault(name, options)
    models = frozenset(name for text in given.models for name in text.split(",") if name)
    return Options(
        host=given.host,
        port=given.port,
        data=given.data,
        api_keys=tuple(given.api_key),
        key_per_account=given.key_per_account,
        models=models or None,
        window=given.window,
        validate_seconds=given.validate_seconds,
        run_seconds=given.run_seconds,
        finalize_seconds=given.finalize_seconds,
        cancel_seconds=given.cancel_seconds,
        faults=faults,
        upstream=given.upstream,
        upstream_key_env=given.upstream_key_env,
        upstream_concurrency=given.upstream_concurrency,
        token_limit=given.token_limit,
        batches_per_hour=given.batches_per_hour,
        webhook_url=given.webhook_url,
        webhook_secret_env=given.webhook_secret_env,
        until_stdin_closes=given.until_stdin_closes,
    )


def _check_fault(name: str, options: JsonObject) -> None:
    if name not in CATALOGUE:
        raise SystemExit(f"--faults: there is no fault '{name}'. There are: {', '.join(CATALOGUE)}")
    try:
        check_options(CATALOGUE[name], options)
    except Refusal as refusal:
        raise SystemExit(f"--faults: {refusal.message}") from None


def _seconds(text: str) -> float:
    value = float(text)
    if value < 0:
        raise argparse.ArgumentTypeError("seconds cannot be negative")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("a limit cannot be negative")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m batchq.emulator",
        description="A strict OpenAI Batch API on a socket. It costs nothing and needs no key.",
    )
    add, usual = parser.add_argument, Options()
    add("--host", default=usual.host)
    add("--port", type=int, default=usual.port, help=f"0 is any free one; usual: {usual.port}")
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="keep files, batches and ledger here, over restarts; usual: a directory that is "
        "removed at the end",
    )
    add(
        "--api-key",
        action="append",
        default=[],
        metavar="KEY",
        help="accept only this key (may be repeated); usual: any key",
    )
    add(
        "--key-per-account",
        action="store_true",
        help="each key is an account of its own, that does not see another's files and batches",
    )
    add(
        "--models",
        action="append",
        default=[],
        metavar="NAME[,NAME]",
        help="know only these models; usual: any name is a model",
    )
    add(
        "--window",
        type=_seconds,
        default=usual.window,
        metavar="SECONDS",
        help="what the completion window of 24 h lasts; usual: 24 h",
    )
    for name, what in (
        ("validate", "validating lasts at least"),
        ("run", "the lines are spread over"),
        ("finalize", "finalizing lasts"),
        ("cancel", "cancelling lasts"),
    ):
        default = getattr(usual, f"{name}_seconds")
        add(
            f"--{name}-seconds",
            type=_seconds,
            default=default,
            metavar="SECONDS",
            help=f"{what} so long; usual: {default:g}",
        )
    add(
        "--faults",
        action="append",
        default=[],
        metavar="NAME[:OPTION=VALUE…][,NAME…]",
        help="start with these faults armed; docs/emulator.md lists them",
    )
    add(
        "--upstream",
        metavar="URL",
        help="have every line answered by this OpenAI-compatible server, e.g. "
        "http://localhost:11434/v1",
    )
    add(
        "--upstream-key-env",
        metavar="NAME",
        help="the environment variable with the key of that server",
    )
    add(
        "--upstream-concurrency",
        type=int,
        default=usual.upstream_concurrency,
        metavar="N",
        help=f"calls to that server at one time; usual: {usual.upstream_concurrency}",
    )
    add(
        "--token-limit",
        type=_count,
        metavar="N",
        help="prompt tokens that may be enqueued for a model; usual: no limit",
    )
    add(
        "--batches-per-hour",
        type=_count,
        default=usual.batches_per_hour,
        metavar="N",
        help=f"usual: {usual.batches_per_hour}",
    )
    add(
        "--webhook-url",
        metavar="URL",
        help="tell this URL when a batch is over, signed as OpenAI signs",
    )
    add(
        "--webhook-secret-env",
        default=usual.webhook_secret_env,
        metavar="NAME",
        help="the environment variable with the secret to sign with; usual: "
        f"{usual.webhook_secret_env}",
    )
    add(
        "--until-stdin-closes",
        action="store_true",
        help="end when standard input does, so that no emulator outlives who started it",
    )
    return parser


def parse_faults(text: str) -> dict[str, JsonObject]:
    """Faults as the command line has them: `rows_429:every=10:times=null,slow:seconds=2`."""

    def value(word: str) -> Any:
        try:
            return json.loads(word)
        except ValueError:
            return word

    faults: dict[str, JsonObject] = {}
    for part in filter(None, text.split(",")):
        name, *options = part.strip().split(":")
        pairs = [option.partition("=") for option in options]
        faults[name] = {key: value(word) for key, _, word in pairs}
    return faults
