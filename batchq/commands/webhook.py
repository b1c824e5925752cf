"""`webhook`: a small server that takes the provider's webhooks."""

from __future__ import annotations

import logging

import click

from batchq.commands.terminal import Exit, Terminal, command

__all__ = ["webhook"]


@command(needs="app")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8787,
    show_default=True,
    help="Where to listen; 0: any that is free.",
)
def webhook(to: Terminal, *, host: str, port: int) -> Exit:
    """Take the provider's webhooks.

    At POST /webhook, until SIGTERM or Ctrl-C. It speaks plain HTTP: leave it behind what ends
    TLS. Needs batchq[webhook]. Ends with 2 where no account has a secret to verify webhooks with.
    """
    # Here: it imports the SDK, which takes a second.
    from batchq.webhook.server import serve

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("batchq").setLevel(logging.INFO)
    serve(to.app, host=host, port=port, ready=lambda url: _ready(to, url))
    return Exit.FINE


def _ready(to: Terminal, url: str) -> None:
    if to.as_json:
        to.give({"url": url}, indent=None)
    else:
        to.say(f"webhooks are taken at {url}")
