"""What every handler has: a request id, answers in JSON, errors in the shape of OpenAI."""

from types import TracebackType
from typing import Any

from tornado.web import HTTPError, RequestHandler

from batchq.emulator.problems import (
    Refusal,
    above_maximum,
    below_minimum,
    server_error,
    unparseable_body,
    wrong_type,
)
from batchq.emulator.service import Service
from batchq.emulator.shapes import JsonObject, as_object, decode, encode, identifier

HTML = (
    "<!DOCTYPE html><html><head><title>{title}</title></head>"
    "<body><center><h1>{title}</h1></center><hr><center>cloudflare</center></body></html>"
)


class Dropped(Exception):
    """The connection was cut: there is nobody to answer any more."""


class Handler(RequestHandler):
    """Answers in JSON; a Refusal raised anywhere is the answer."""

    service: Service

    def initialize(self, service: Service) -> None:
        self.service = service

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("x-request-id", identifier("req_"))

    def data_received(self, chunk: bytes) -> None:
        """Only uploads arrive in pieces."""

    def say(self, body: Any, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("content-type", "application/json")
        self.send(encode(body))
        self.end()

    def send(self, chunk: bytes | str) -> None:
        # Any: Tornado's own annotations of these two are incomplete.
        writer: Any = self
        writer.write(chunk)

    def end(self) -> None:
        writer: Any = self
        writer.finish()

    def refuse(self, refusal: Refusal) -> None:
        for name, value in refusal.headers.items():
            self.set_header(name, value)
        self.say(refusal.body, refusal.status)

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if not isinstance(value, Refusal | Dropped | HTTPError):
            super().log_exception(typ, value, tb)

    def write_error(self, status_code: int, **details: Any) -> None:
        del status_code  # the error knows better
        error = details.get("exc_info", (None, None, None))[1]
        if isinstance(error, Refusal):
            self.refuse(error)
        elif isinstance(error, HTTPError) and error.status_code < 500:
            self.refuse(
                Refusal(
                    error.status_code,
                    f"Invalid URL ({self.request.method} {self.request.path})"
                    if error.status_code in (404, 405)
                    else str(error),
                )
            )
        else:
            self.refuse(server_error())

    def send_error(self, status_code: int = 500, **details: Any) -> None:
        if not isinstance(details.get("exc_info", (None, None))[1], Dropped):
            super().send_error(status_code, **details)

    def json_body(self) -> JsonObject:
        try:
            body = decode(self.request.body or b"{}")
        except ValueError:
            raise unparseable_body() from None
        known = as_object(body)
        if known is None:
            raise wrong_type("body", "an object", body)
        return known

    def integer(self, name: str, *, otherwise: int, low: int, high: int) -> int:
        """A number of the query string."""
        text = self.get_query_argument(name, None)
        if text is None:
            return otherwise
        try:
            value = int(text)
        except ValueError:
            raise wrong_type(name, "an integer", text) from None
        if value < low:
            raise below_minimum(name, value, low)
        if value > high:
            raise above_maximum(name, value, high)
        return value
