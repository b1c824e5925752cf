"""What is wrong with a batch file, line by line: the rules of OpenAI's Batch API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from batchq.commands.batchline import inputs_of, object_on, word
from batchq.prompt import estimate_tokens
from batchq.settings.limits import BATCH_ENDPOINTS
from batchq.settings.refusals import known_refusal

__all__ = ["LARGEST", "MOST_INPUTS", "MOST_LINES", "BatchFile", "Problem"]

MOST_LINES = 50_000
LARGEST = 200_000_000
MOST_INPUTS = 50_000
"""Embedding inputs of all lines together."""

_MOST_INPUTS_OF_ONE = 2_048
_EMBEDDINGS = "/v1/embeddings"

_NEEDED: Mapping[str, str] = {
    "/v1/chat/completions": "messages",
    _EMBEDDINGS: "input",
    "/v1/moderations": "input",
    "/v1/images/generations": "prompt",
    "/v1/images/edits": "prompt",
    "/v1/videos": "prompt",
}
"""What the body of a request has to have beside its model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. ``line`` counts from 1, and is 0 where it is the whole file's.

    ``code`` and ``param`` are the provider's own words for it. Where ``fails_all``, none of the
    lines would run; otherwise this line gets an error and the others run.
    """

    line: int
    code: str
    param: str
    what: str
    fails_all: bool = True


@dataclass(slots=True, kw_only=True)
class BatchFile:
    """A file, as far as it was read. Give it each line once, in order, without its newline."""

    azure: bool = False
    off: frozenset[str] = frozenset()
    """Names of known refusals that do not count."""
    lines: int = 0
    size: int = 0
    tokens: int = 0
    inputs: int = 0
    endpoint: str = ""
    model: str = ""
    _first_line_of: dict[str, int] = field(default_factory=dict[str, int])

    def problems(self, lines: Iterable[bytes]) -> Iterator[Problem]:
        """All that is wrong with a file that has these lines."""
        for line in lines:
            yield from self._line(line)
        if self.lines == 0:
            yield self._problem("empty_file", "", "the file has no lines", line=0)
        if self.size > LARGEST:
            what = f"the file has {self.size:,} bytes, and {LARGEST:,} are taken"
            yield self._problem("file_too_large", "", what, line=0)

    def _line(self, line: bytes) -> Iterator[Problem]:
        self.lines += 1
        self.size += len(line) + 1
        if self.lines == MOST_LINES + 1:
            what = f"the file has more than {MOST_LINES:,} lines"
            yield self._problem("too_many_tasks", "", what)
        request, why = object_on(line, first=self.lines == 1)
        if request is None:
            yield self._problem("invalid_json_line", "", why)
            return
        yield from self._custom_id(request)
        yield from self._method(request)
        yield from self._url(request)
        yield from self._body(request)

    def _problem(
        self, code: str, param: str, what: str, *, line: int | None = None, fails_all: bool = True
    ) -> Problem:
        number = self.lines if line is None else line
        return Problem(line=number, code=code, param=param, what=what, fails_all=fails_all)

    def _missing(self, param: str) -> Problem:
        return self._problem("missing_required_parameter", param, f"it has no {param}")

    def _custom_id(self, request: Mapping[str, Any]) -> Iterator[Problem]:
        custom_id = request.get("custom_id")
        if custom_id is None:
            yield self._missing("custom_id")
        elif not isinstance(custom_id, str):
            yield self._problem("invalid_request", "custom_id", "its custom_id is no text")
        elif (first := self._first_line_of.setdefault(custom_id, self.lines)) != self.lines:
            what = f"its custom_id is that of line {first}"
            yield self._problem("duplicate_custom_id", "custom_id", what)

    def _method(self, request: Mapping[str, Any]) -> Iterator[Problem]:
        method = request.get("method")
        if method is None:
            yield self._missing("method")
        elif method != "POST":
            yield self._problem("invalid_request", "method", "its method is not POST")

    def _url(self, request: Mapping[str, Any]) -> Iterator[Problem]:
        url = request.get("url")
        if url is None:
            yield self._missing("url")
            return
        endpoint = f"/v1{url}" if self.azure and f"/v1{url}" in BATCH_ENDPOINTS else url
        if endpoint not in BATCH_ENDPOINTS:
            yield self._problem("invalid_url", "url", f"{word(url)} cannot be batched")
        elif endpoint != (self.endpoint or endpoint):
            what = f"its url is {word(url)}, and that of the lines before it {self.endpoint}"
            yield self._problem("invalid_url", "url", what)
        else:
            self.endpoint = endpoint

    def _body(self, request: Mapping[str, Any]) -> Iterator[Problem]:
        given = request.get("body")
        if given is None:
            yield self._missing("body")
            return
        if not isinstance(given, dict):
            yield self._problem("invalid_request", "body", "its body is no object")
            return
        body = cast("dict[str, Any]", given)
        self.tokens += estimate_tokens(
            json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        )
        yield from self._model(body)
        if body.get("stream"):
            what = "its body asks for a stream"
            yield self._problem("streaming_unsupported", "body.stream", what)
        yield from self._content(body)
        yield from self._refused(body)

    def _refused(self, body: Mapping[str, Any]) -> Iterator[Problem]:
        found = known_refusal(self.endpoint, body, off=self.off)
        if found is not None:
            refusal, param = found
            what = f"{refusal}; --without {refusal.name} takes it"
            yield self._problem(refusal.code, f"body.{param}", what, fails_all=False)

    def _model(self, body: Mapping[str, Any]) -> Iterator[Problem]:
        model = body.get("model")
        if not isinstance(model, str) or not model:
            yield self._problem("invalid_request", "body.model", "its body names no model")
        elif model != (self.model or model):
            what = f"its model is {word(model)}, and that of the lines before it {self.model}"
            yield self._problem("mismatched_model", "body.model", what)
        else:
            self.model = model

    def _content(self, body: Mapping[str, Any]) -> Iterator[Problem]:
        needed = _NEEDED.get(self.endpoint)
        if needed is not None and body.get(needed) in (None, "", []):
            what = f"its body has no {needed}"
            code, param = "missing_required_parameter", f"body.{needed}"
            yield self._problem(code, param, what, fails_all=False)
        if self.endpoint == _EMBEDDINGS:
            yield from self._embedding_inputs(body.get("input"))

    def _embedding_inputs(self, given: object) -> Iterator[Problem]:
        inputs = inputs_of(given)
        before, self.inputs = self.inputs, self.inputs + len(inputs)
        if before <= MOST_INPUTS < self.inputs:
            what = f"with this line the file has more than {MOST_INPUTS:,} inputs"
            yield self._problem("invalid_request", "body.input", what)
        if len(inputs) > _MOST_INPUTS_OF_ONE:
            what = f"its body has {len(inputs):,} inputs, and {_MOST_INPUTS_OF_ONE:,} are taken"
            yield self._problem("invalid_request", "body.input", what, fails_all=False)
        if any(one in ("", []) for one in inputs):
            what = "one of its inputs is empty"
            yield self._problem("invalid_request", "body.input", what, fails_all=False)
