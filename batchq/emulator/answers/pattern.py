"""Makes a string that matches a regular expression, for most expressions people write."""

import re
from typing import Any

# The parser behind `re` has no public name; what is not understood here raises Unsupported.
_parse: Any = getattr(re, "_parser").parse  # noqa: B009 - mypy and pyright know no such name

MOST_REPEATS = 3


class Unsupported(Exception):
    """The expression uses something that this module cannot make up."""


def matching(expression: str) -> str:
    """A string that `re.search` finds the expression in. Ours to check: the caller validates."""
    try:
        parsed = _parse(_translated(expression))
    except re.error as error:
        raise Unsupported(str(error)) from None
    return "".join(_make(operation, argument) for operation, argument in parsed)


def _translated(expression: str) -> str:
    """JSON Schema's expressions are ECMAScript's."""
    return expression.replace("(?<", "(?P<").replace("(?P<=", "(?<=").replace("(?P<!", "(?<!")


def _sequence(parsed: Any) -> str:
    return "".join(_make(operation, argument) for operation, argument in parsed)


def _make(operation: Any, argument: Any) -> str:
    match str(operation):
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return "a" if argument != ord("a") else "b"
        case "ANY":
            return "a"
        case "IN":
            return _one_of(argument)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, inner = argument
            return _sequence(inner) * max(int(least), min(int(most), 1 if least == 0 else least))
        case "SUBPATTERN":
            return _sequence(argument[-1])
        case "BRANCH":
            return _sequence(argument[1][0])
        case "AT":
            return ""
        case other:
            raise Unsupported(other)


def _one_of(members: Any) -> str:
    if str(members[0][0]) == "NEGATE":
        excluded = re.compile(_class(members[1:]))
        for candidate in "a1 -_A.~":
            if not excluded.match(candidate):
                return candidate
        raise Unsupported("a class that excludes everything")
    operation, argument = members[0]
    match str(operation):
        case "LITERAL":
            return chr(argument)
        case "RANGE":
            return chr(argument[0])
        case "CATEGORY":
            return {"CATEGORY_DIGIT": "1", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}.get(
                str(argument), "-"
            )
        case other:
            raise Unsupported(other)


def _class(members: Any) -> str:
    parts: list[str] = []
    for operation, argument in members:
        match str(operation):
            case "LITERAL":
                parts.append(re.escape(chr(argument)))
            case "RANGE":
                parts.append(f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}")
            case "CATEGORY":
                parts.append(
                    {
                        "CATEGORY_DIGIT": r"\d",
                        "CATEGORY_NOT_DIGIT": r"\D",
                        "CATEGORY_WORD": r"\w",
                        "CATEGORY_NOT_WORD": r"\W",
                        "CATEGORY_SPACE": r"\s",
                        "CATEGORY_NOT_SPACE": r"\S",
                    }[str(argument)]
                )
            case other:
                raise Unsupported(other)
    return f"[{''.join(parts)}]"
