"""Checks the input file of a batch, line by line: the first bad line fails the whole batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchq.emulator.faults import picks
from batchq.emulator.shapes import JsonObject, as_object, decode
from batchq.emulator.tokens import inputs_of, prompt_tokens

MAX_LINES = 50_000
MAX_EMBEDDING_INPUTS = 50_000

# Azure has its own names for two of the codes.
AZURE_CODES = {"invalid_url": "url_mismatch", "mismatched_model": "model_mismatch"}
MESSAGES = {
    "invalid_json_line": "This line is not parseable as valid JSON.",
    "duplicate_custom_id": "The custom_id of this line was used by an earlier line.",
    "invalid_request": "This line is not a valid request.",
}


@dataclass(eq=False)
class InvalidFile(Exception):
    """The batch fails: what its `errors` will say."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None

    def view(self, *, azure: bool) -> JsonObject:
        return {
            "code": AZURE_CODES.get(self.code, self.code) if azure else self.code,
            "message": self.message,
            "param": self.param,
            "line": self.line,
        }


@dataclass
class Validation:
    """Takes the lines in their order; raises InvalidFile at the first that is wrong."""

    endpoint: str
    models: frozenset[str] | None = None
    azure: bool = False
    faults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fired: list[str] = field(default_factory=list[str])
    lines: int = 0
    tokens: int = 0
    model: str | None = None
    _inputs: int = 0
    _custom_ids: set[str] = field(default_factory=set[str])

    def line(self, raw: bytes) -> None:
        self.lines += 1
        number = self.lines
        if number > MAX_LINES:
            raise InvalidFile(
                "too_many_tasks",
                f"The batch file has more than {MAX_LINES} requests.",
                line=number,
            )
        request = self._parse(raw, number)
        custom_id = self._custom_id(request, number)
        self._sabotage(number, custom_id, raw)
        self._target(request, number)
        self._body(request, number)

    def file(self, file_id: str) -> None:
        """The file is there, unless a fault says that it is not."""
        lost = self.faults.get("input_file_lost")
        if lost is not None:
            self.fired.append("input_file_lost")
            message = (
                f"Cannot find file {file_id}, or organization org-emulator does not have access "
                "to it."
            )
            raise InvalidFile(lost["code"], message, lost["param"])

    def end(self) -> None:
        if self.lines == 0:
            raise InvalidFile("empty_file", "The batch file has no requests.")

    def _parse(self, raw: bytes, number: int) -> JsonObject:
        try:
            request = as_object(decode(raw))
        except ValueError:
            request = None
        if request is None:
            raise InvalidFile("invalid_json_line", MESSAGES["invalid_json_line"], None, number)
        return request

    def _custom_id(self, request: JsonObject, number: int) -> str:
        self._require(request, "custom_id", number)
        custom_id = request["custom_id"]
        if not isinstance(custom_id, str):
            raise InvalidFile("invalid_request", "custom_id must be a string.", "custom_id", number)
        if custom_id in self._custom_ids:
            message = MESSAGES["duplicate_custom_id"]
            raise InvalidFile("duplicate_custom_id", message, "custom_id", number)
        self._custom_ids.add(custom_id)
        return custom_id

    def _target(self, request: JsonObject, number: int) -> None:
        self._require(request, "method", number)
        if request["method"] != "POST":
            raise InvalidFile("invalid_request", "method must be 'POST'.", "method", number)
        self._require(request, "url", number)
        url = request["url"]
        fits = url == self.endpoint or (self.azure and f"/v1{url}" == self.endpoint)
        if not fits:
            message = f"The URL '{url}' does not match the batch's endpoint '{self.endpoint}'."
            raise InvalidFile("invalid_url", message, "url", number)

    def _body(self, request: JsonObject, number: int) -> None:
        self._require(request, "body", number)
        body = as_object(request["body"])
        if body is None:
            raise InvalidFile("invalid_request", "body must be an object.", "body", number)
        self._model(body, number)
        if body.get("stream"):
            message = "Streaming is not supported in the Batch API."
            raise InvalidFile("streaming_unsupported", message, "body.stream", number)
        if self.endpoint == "/v1/embeddings":
            self._inputs += len(inputs_of(body))
            if self._inputs > MAX_EMBEDDING_INPUTS:
                message = f"The batch file has more than {MAX_EMBEDDING_INPUTS} embedding inputs."
                raise InvalidFile("invalid_request", message, "body.input", number)
        self.tokens += prompt_tokens(self.endpoint, body)

    def _model(self, body: JsonObject, number: int) -> None:
        model = body.get("model")
        if not isinstance(model, str) or not model:
            message = "The body of a request must name its model."
            raise InvalidFile("invalid_request", message, "body.model", number)
        if self.model is None:
            self._available(model, number)
            self.model = model
        elif model != self.model:
            message = f"All requests of a batch must use one model: '{self.model}', not '{model}'."
            raise InvalidFile("mismatched_model", message, "body.model", number)

    def _available(self, model: str, number: int) -> None:
        unknown = self.models is not None and model not in self.models
        if "model_not_found" in self.faults:
            self.fired.append("model_not_found")
            unknown = True
        if unknown:
            message = f"The provided model '{model}' is not supported by the Batch API."
            raise InvalidFile("model_not_found", message, "body.model", number)

    def _sabotage(self, number: int, custom_id: str, raw: bytes) -> None:
        options = self.faults.get("invalid_line")
        if options is None:
            return
        at_line = options.get("line")
        picked = (
            number == at_line
            if at_line is not None
            else picks(options, index=number - 1, custom_id=custom_id, raw=raw)
        )
        if picked:
            self.fired.append("invalid_line")
            code = options["code"]
            message = MESSAGES.get(code, f"This line is bad: {code}.")
            said = number if options["numbered"] else None
            raise InvalidFile(code, message, None, said)

    @staticmethod
    def _require(request: JsonObject, name: str, number: int) -> None:
        if request.get(name) is None:
            message = f"Missing required parameter: '{name}'."
            raise InvalidFile("missing_required_parameter", message, name, number)
