"""A message that Celery has made, as a form in which another call's id and arguments are put."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from batchq.bulk.calls import Call
from batchq.common.seams.publishing import encoded, shown

__all__ = ["Template", "tag_of", "template_of"]

_MARK = "batchq-bulk-slot-"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Template:
    """``form`` is the message as ``str.__mod__`` takes it, with a slot for all that varies."""

    form: str
    embedded: Mapping[str, Any]
    most_shown: tuple[int, int]

    def filled(self, call: Call, channel: Any, tag: str) -> str:
        """The message of a call, under this delivery tag."""
        args, kwargs = call.args, call.kwargs
        body, _ = encoded(channel, (args, kwargs, self.embedded), "json")
        return self.form % {
            "id": quoted(call.task_id),
            "tag": quoted(tag),
            "body": quoted(body),
            "args": quoted(_shown(args, self.most_shown[0])),
            "kwargs": quoted(shown(kwargs, self.most_shown[1]) if kwargs else "{}"),
        }

    def is_like(self, other: Template) -> bool:
        """Whether they differ in nothing but when they were made: an end is told in absolute time,
        and in what is left of it.
        """
        return _TIMES.sub("", self.form) == _TIMES.sub("", other.form)


_TIMES = re.compile(r'"(?:eta|expires|expiration)": "[^"]*"')


def template_of(call: Call, message: str, most_shown: tuple[int, int]) -> Template | None:
    """What a message of Celery's has in common with those of calls that are like this one; None
    where it is not as messages are by default (JSON, not compressed, of the second protocol).

    Whether it is right shows where it is filled for the call it was made of, and for another.
    """
    try:
        fields = json.loads(message)
        headers, properties = fields["headers"], fields["properties"]
        _, _, embedded = json.loads(base64.b64decode(fields["body"]))
        if fields["content-type"] != _JSON or "compression" in headers:
            return None
    except (ValueError, LookupError, TypeError):
        return None
    fields["body"] = f"{_MARK}body"
    properties["delivery_tag"] = f"{_MARK}tag"
    for place, name in ((headers, "id"), (headers, "root_id"), (properties, "correlation_id")):
        if place.get(name) == call.task_id:
            place[name] = f"{_MARK}id"
    for name in ("args", "kwargs"):
        # As a caller has said, who does not want them seen.
        if f"{name}repr" not in call.options:
            headers[f"{name}repr"] = f"{_MARK}{name}"
    form = json.dumps(fields).replace("%", "%%")
    for name in ("id", "tag", "body", "args", "kwargs"):
        form = form.replace(f'"{_MARK}{name}"', f"%({name})s")
    return Template(form, embedded, most_shown)


def tag_of(message: str) -> str:
    """The delivery tag of a message that is sent already."""
    return str(json.loads(message)["properties"]["delivery_tag"])


def _shown(args: Any, most: int) -> str:
    """What `saferepr` makes of them; most arguments are a few short values, and it takes a fifth of
    the time that a whole message does.
    """
    if args.__class__ is not tuple or not all(type(value) in _SIMPLE for value in args):
        return shown(args, most)
    values = [
        "'{}'".format(value.replace("'", "\\'")) if type(value) is str else str(value)
        for value in args
    ]
    found = f"({values[0]},)" if len(values) == 1 else f"({', '.join(values)})"
    return found if len(found) < most else shown(args, most)


_SIMPLE = {str, int, bool, float, type(None)}
