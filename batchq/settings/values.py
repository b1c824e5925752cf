"""One setting's value at a time: what is accepted, and what it becomes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import cast

from pydantic import ValidationInfo

from batchq.common.record import nearest
from batchq.errors import ConfigurationError
from batchq.settings.redis_urls import without_password
from batchq.settings.refusals import REFUSALS
from batchq.settings.sources import is_source, source


def read_secret_place(value: object, info: ValidationInfo) -> str | None:
    """Where keys or URLs come from, and never they themselves: "env:NAME", say."""
    if value is None or is_source(value):
        return cast("str | None", value)
    setting = info.field_name or ""
    what = {"encryption": "keys", "notify": "URLs"}[setting]
    return source(value, setting, what)


# Headers

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]+\*?")


def read_header_names(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    names = list(cast("list[object]", value)) if isinstance(value, (list, tuple, set)) else [None]
    if not all(isinstance(name, str) and _HEADER.fullmatch(name) for name in names):
        raise ValueError(
            "accepted is a list of names of headers; one that ends with * stands for all that "
            'begin so, such as ["x-team", "x-trace-*"]'
        )
    return tuple(str(name).lower() for name in names)


# Where large bodies are kept

_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.:-]*://\S+")


def read_storage(value: object) -> str | None:
    if value is None:
        return None
    where = str(value) if isinstance(value, Path) else value
    if isinstance(where, str) and (os.path.isabs(where) or _ELSEWHERE.fullmatch(where)):  # noqa: PTH117 a path is kept as it is given
        return where
    raise ValueError(
        "accepted is the absolute path of a directory that all workers share, a URL that fsspec "
        "takes, such as s3://bucket/batchq, or None"
    )


def shown_storage(where: str | None) -> str | None:
    return where if where is None or "://" not in where else without_password(where)


# Known refusals

_SWITCH = {True: True, False: False, "on": True, "off": False}


def read_switches(value: object) -> dict[str, bool] | None:
    if value is None:
        return None
    known = [refusal.name for refusal in REFUSALS]
    given = cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {None: None}
    if not all(isinstance(name, str) and _is_switch(state) for name, state in given.items()):
        raise ValueError(f'accepted is a dict such as {{"{known[0]}": False}}, with "on" and "off"')
    for name in cast("Mapping[str, object]", given):
        if name not in known:
            setting = f"known_refusals[{name!r}]"
            expected = f"there is none of that name; there are {', '.join(known)}"
            raise ConfigurationError(setting, None, expected, nearest(name, known))
    return {cast("str", name): _SWITCH[cast("str", state)] for name, state in given.items()}


def _is_switch(state: object) -> bool:
    return isinstance(state, (bool, str)) and state in _SWITCH


# Money


def read_dollars(value: object) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        # By its text: 0.1 is meant as 0.1.
        amount = Decimal(str(value))
        if amount.is_finite() and amount > 0:
            return amount
    raise ValueError("accepted is a number of US dollars, more than 0, or None")
