"""Signed URLs in the body of a request, and when they end.

Of S3 and its like (`X-Amz-Expires` after `X-Amz-Date`; Google's and others' are built alike), of
CloudFront and the older signatures (`Expires`, in seconds since 1970), of Azure's storage (`se`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

__all__ = ["expires_at", "url_that_expires"]


def url_that_expires(body: Mapping[str, Any], until: datetime) -> str | None:
    """The key under which a URL of the body stands that ends before ``until``."""
    for key, url in _urls(body):
        end = expires_at(url)
        if end is not None and end < until:
            return key
    return None


def _urls(body: object) -> Iterator[tuple[str, str]]:
    """What is fetched: a URL under a key that says so. One in a text is read and no more."""
    left: list[tuple[str, object]] = [("", body)]
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            # A key counts for what is deeper too: {"image_url": {"url": ...}}, and lists.
            left += cast("dict[str, object]", value).items()
        elif isinstance(value, list):
            left += ((key, each) for each in cast("list[object]", value))
        elif isinstance(value, str) and key.endswith("url") and "?" in value:
            yield key, value


def expires_at(url: str) -> datetime | None:
    """When a signed URL ends; None where it does not, or nothing is known of it."""
    try:
        query = parse_qsl(urlsplit(url).query)
    except ValueError:
        return None
    given = {name.lower(): value for name, value in query}
    ends = (read(given) for read in (_after_its_date, _at_its_second, _at_its_time))
    return next((end for end in ends if end is not None), None)


def _after_its_date(given: Mapping[str, str]) -> datetime | None:
    """`X-Amz-Date=20261128T041035Z` and `X-Amz-Expires=3600`, whosever they are."""
    for name, seconds in given.items():
        found = re.fullmatch(r"(x-\w+-)expires", name)
        if found is not None:
            return _later(given.get(f"{found[1]}date", ""), seconds)
    return None


def _later(date: str, seconds: str) -> datetime | None:
    try:
        begun = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return begun + timedelta(seconds=int(seconds))
    except (ValueError, OverflowError):
        return None


def _at_its_second(given: Mapping[str, str]) -> datetime | None:
    """`Expires=1795838435`. A shorter number is not a time, and may be anything."""
    for name in ("expires", "expiry", "exp"):
        if re.fullmatch(r"\d{10}", given.get(name, ""), re.ASCII):
            return datetime.fromtimestamp(int(given[name]), UTC)
    return None


def _at_its_time(given: Mapping[str, str]) -> datetime | None:
    """`se=2026-11-28T05:10:35Z` beside `sig`."""
    if "sig" not in given:
        return None
    try:
        end = datetime.fromisoformat(given.get("se", ""))
    except ValueError:
        return None
    return end if end.tzinfo is not None else end.replace(tzinfo=UTC)
