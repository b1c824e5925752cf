"""The rules a schema must keep when a request asks for it with `strict: true`."""

from collections.abc import Iterator

from batchq.emulator.shapes import JsonObject, as_list, as_object

NOT_PERMITTED = (
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
)


def violation(schema: JsonObject) -> str | None:
    """The first broken rule, in OpenAI's words; None where the schema keeps them all."""
    if "anyOf" in schema or (schema.get("type") != "object" and "$ref" not in schema):
        kind = schema.get("type")
        shown = f'"{kind}"' if isinstance(kind, str) else "None"
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {shown}'."
    for context, part in _walk(schema, ()):
        broken = _broken(part)
        if broken is not None:
            return f"In context={_shown(context)}, {broken}"
    return None


def _broken(schema: JsonObject) -> str | None:
    for keyword in NOT_PERMITTED:
        if keyword in schema:
            return f"'{keyword}' is not permitted."
    if schema.get("type") == "array" and "items" not in schema and "prefixItems" not in schema:
        return "array schema missing items."
    if schema.get("type") != "object":
        return None
    if schema.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    names = list(as_object(schema.get("properties")) or {})
    required = as_list(schema.get("required")) or []
    unlisted = [name for name in names if name not in required]
    extra = [name for name in required if name not in names]
    if unlisted:
        return (
            "'required' is required to be supplied and to be an array including every key in "
            f"properties. Missing '{unlisted[0]}'."
        )
    return f"Extra required key '{extra[0]}' supplied." if extra else None


def _walk(
    schema: JsonObject, context: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], JsonObject]]:
    yield context, schema
    for keyword in ("properties", "$defs", "definitions"):
        for name, value in (as_object(schema.get(keyword)) or {}).items():
            part = as_object(value)
            if part is not None:
                yield from _walk(part, (*context, keyword, name))
    items = as_object(schema.get("items"))
    if items is not None:
        yield from _walk(items, (*context, "items"))
    for keyword in ("anyOf", "prefixItems"):
        for position, value in enumerate(as_list(schema.get(keyword)) or []):
            part = as_object(value)
            if part is not None:
                yield from _walk(part, (*context, keyword, str(position)))


def _shown(context: tuple[str, ...]) -> str:
    return "()" if not context else repr(context)
