"""Connections: with what Celery and kombu make theirs, and httpx's transports without them."""

from __future__ import annotations

import copy
import importlib
import types
from typing import Any

__all__ = ["backend_parameters", "broker_parameters", "follows_default", "without_connections"]


def backend_parameters(app: Any, url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """With what Celery's result backend for a Redis URL connects (as redis-py takes it), and its
    transport options. Nothing is connected.
    """
    backends = importlib.import_module("celery.app.backends")
    kind, url = backends.by_url(url, app.loader)
    parameters = dict(kind(app=app, url=url).connparams)
    options = dict(app.conf.result_backend_transport_options or {})
    return parameters, options


def broker_parameters(app: Any, url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """With what kombu connects to a broker that is a Redis, and its transport options. Nothing is
    connected.
    """
    connection = app.connection_for_write(url)
    options = dict(connection.transport_options)
    transport = connection.get_transport_cls()
    # As its own __init__ would, but for the connection that is made there.
    channel = object.__new__(transport.Channel)
    channel.connection = types.SimpleNamespace(
        client=connection, default_port=transport.default_port
    )
    for name in transport.Channel.from_transport_options:
        # Of its own defaults (10 connections, say) none is meant for us.
        setattr(channel, name, options.get(name))
    return dict(channel._connparams()), options


def follows_default(app: Any, setting: str) -> bool:
    """Whether a setting of Celery has the value it has where nobody says anything."""
    defaults = importlib.import_module("celery.app.defaults").DEFAULTS
    return bool(app.conf.get(setting) == defaults.get(setting))


def without_connections(transport: Any) -> Any:
    """A transport of httpx as this one is, with none of its connections."""
    pool = copy.copy(transport._pool)
    pool._connections, pool._requests = [], []
    fresh = copy.copy(transport)
    fresh._pool = pool
    return fresh
