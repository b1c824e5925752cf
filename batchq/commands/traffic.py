"""Reading what would be sent, or was: batch lines, bodies, logs of calls, usage exports."""

from __future__ import annotations

import csv
import json
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from batchq.commands.traffic_forms import (
    COUNTS,
    answer_in,
    encoded,
    endpoint_of,
    is_document,
    is_table,
    text_in,
    typed,
    whole_in,
)
from batchq.money.cost import Planned, Usage, planned, usage_of

__all__ = ["Found", "Traffic", "Unreadable", "Used"]

_LARGEST_DOCUMENT = 500_000_000
"""Bytes of one JSON document that is not in lines, such as an export; it is read as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Calls that were made. ``halved``: they have the price of a batch already."""

    model: str
    usage: Usage
    calls: int = 1
    halved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Something at a line (or entry) that cannot be read as a call, and why."""

    line: int
    why: str


Found = Planned | Used | Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How a file is read. ``model`` is that of lines which name none; ``output_tokens`` what to
    expect of an answer (None: the usual guess).
    """

    model: str = ""
    output_tokens: int | None = None

    def read(self, lines: Iterable[bytes]) -> Iterator[Found]:
        """What a file holds, in any of the forms that are known; blank lines are nothing."""
        numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        first = next(numbered, None)
        if first is None:
            return
        lines_again = chain([first], numbered)
        if is_table(first[1]):
            yield from self._table(lines_again)
        elif is_document(first[1]):
            yield from self._document(lines_again)
        else:
            for number, line in lines_again:
                yield from self._line(number, line)

    def _line(self, number: int, line: bytes) -> Iterator[Found]:
        try:
            value: object = json.loads(line.removeprefix(BOM_UTF8))
        except (ValueError, RecursionError):
            yield Unreadable(line=number, why="it is not JSON")
            return
        yield from self._value(number, value)

    def _document(self, numbered: Iterable[tuple[int, bytes]]) -> Iterator[Found]:
        """One JSON document over many lines. Its entries are counted, for they have no lines."""
        parts: list[bytes] = []
        size = 0
        for _, line in numbered:
            parts.append(line)
            size += len(line)
            if size > _LARGEST_DOCUMENT:
                yield Unreadable(line=1, why=f"it is no JSON lines, and more than {size:,} bytes")
                return
        try:
            value: object = json.loads(b"\n".join(parts).removeprefix(BOM_UTF8))
        except (ValueError, RecursionError):
            yield Unreadable(line=1, why="it is neither JSON lines nor one JSON document")
            return
        entries = cast("list[object]", value) if isinstance(value, list) else [value]
        for number, entry in enumerate(entries, 1):
            yield from self._value(number, entry)

    def _table(self, numbered: Iterable[tuple[int, bytes]]) -> Iterator[Found]:
        """A CSV, or the same with tabs, as the usage page exports it: a header, then rows."""
        texts = (line.removeprefix(BOM_UTF8).decode(errors="replace") for _, line in numbered)
        header = next(texts)
        rows = csv.DictReader(chain([header], texts), delimiter="\t" if "\t" in header else ",")
        for row in rows:
            number = rows.line_num
            found = {name: typed(value) for name, value in row.items() if isinstance(value, str)}
            if any(found.get(name) for name in COUNTS):
                yield self._result(number, found)

    def _value(self, number: int, value: object) -> Iterator[Found]:
        if isinstance(value, str):
            yield self._prompt(number, value)
        elif not isinstance(value, dict):
            yield Unreadable(line=number, why="it is neither an object nor a text")
        else:
            yield from self._object(number, cast("dict[str, Any]", value))

    def _object(self, number: int, value: Mapping[str, Any]) -> Iterator[Found]:
        for name in ("data", "results"):
            # A page of a usage export holds buckets, and a bucket results.
            inside: Any = value.get(name)
            if isinstance(inside, list) and str(value.get("object")) in {"page", "bucket"}:
                for one in cast("list[object]", inside):
                    yield from self._value(number, one)
                return
        if any(isinstance(value.get(name), int) for name in COUNTS):
            yield self._result(number, value)
        elif (answer := answer_in(value)) is not None:
            yield self._answer(number, answer, value)
        else:
            yield self._request(number, value)

    # One call

    def _answer(self, number: int, answer: Mapping[str, Any], around: Mapping[str, Any]) -> Found:
        usage = usage_of(answer)
        model = text_in(answer.get("model")) or text_in(around.get("model")) or self.model
        if usage is None:
            return Unreadable(line=number, why="its usage says no tokens")
        if not model:
            return Unreadable(line=number, why="it names no model; --model says which")
        halved = text_in(answer.get("service_tier")) == "flex" or "custom_id" in around
        return Used(model=model, usage=usage, halved=halved)

    def _request(self, number: int, value: Mapping[str, Any]) -> Found:
        body: Any = value.get("body", value.get("request", value))
        if not isinstance(body, dict):
            return Unreadable(line=number, why="its body is no object")
        request = cast("dict[str, Any]", body)
        endpoint = text_in(value.get("url")) or endpoint_of(request)
        if endpoint is None:
            prompt = text_in(request.get("prompt"))
            if prompt is None:
                why = "it is no request (messages, input or prompt), and has no usage"
                return Unreadable(line=number, why=why)
            if "model" not in request:
                return self._prompt(number, prompt)
            endpoint = "/v1/completions"
        if not text_in(request.get("model")):
            request = {**request, "model": self.model}
        if not request["model"]:
            return Unreadable(line=number, why="it names no model; --model says which")
        return planned(endpoint, encoded(request), output_tokens=self.output_tokens)

    def _prompt(self, number: int, text: str) -> Found:
        if not self.model:
            return Unreadable(line=number, why="it names no model; --model says which")
        body = {"model": self.model, "messages": [{"role": "user", "content": text}]}
        endpoint = "/v1/chat/completions"
        return planned(endpoint, encoded(body), output_tokens=self.output_tokens)

    def _result(self, number: int, value: Mapping[str, Any]) -> Found:
        """One row of a usage export: the calls of some minutes or days, added up."""
        model = text_in(value.get("model")) or self.model
        if not model:
            why = "it names no model: group the export by model, or say --model"
            return Unreadable(line=number, why=why)
        given, read, written, output = (
            max(0, whole_in(value.get(name)))
            for name in (
                *("input_tokens", "input_cached_tokens"),
                *("input_cache_write_tokens", "output_tokens"),
            )
        )
        read = min(read, given)
        usage = Usage(
            input_tokens=given,
            cached_tokens=read,
            written_tokens=min(written, given - read),
            output_tokens=output,
        )
        calls = max(1, *(whole_in(value.get(name)) for name in COUNTS))
        halved = value.get("batch") is True or value.get("service_tier") == "flex"
        return Used(model=model, usage=usage, calls=calls, halved=halved)
