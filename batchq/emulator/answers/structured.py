"""The parts of a request that prescribe the form of its answer: schemas and tools."""

import json
from typing import Any

from batchq.emulator.answers.instance import instance
from batchq.emulator.answers.request import Conversation
from batchq.emulator.answers.strict import violation
from batchq.emulator.answers.text import reply
from batchq.emulator.problems import Refusal, missing, unsupported_value
from batchq.emulator.shapes import JsonObject, as_list, as_object


def formatted(form: JsonObject | None, said: Conversation, *, param: str, variant: int = 0) -> str:
    """The text of an answer in the form asked for.

    `form` is a chat `response_format` (its schema under `json_schema`) or a Responses
    `text.format` (its schema beside the type).
    """
    seed = said.seed + ("" if variant == 0 else f"#{variant}")
    kind = (form or {}).get("type", "text")
    if form is None or kind == "text":
        return reply(said.task, said.text, seed)
    if kind == "json_object":
        if "json" not in said.task.lower():
            raise Refusal(
                400,
                f"'messages' must contain the word 'json' in some form, to use '{param}' of type "
                "'json_object'.",
                param="messages",
            )
        return json.dumps({"answer": reply(said.task, said.text, seed)}, ensure_ascii=False)
    if kind != "json_schema":
        raise unsupported_value(f"{param}.type", kind, ("text", "json_object", "json_schema"))
    schema = checked_schema(form, param=param)
    return json.dumps(instance(schema, text=said.text, seed=seed), ensure_ascii=False)


def checked_schema(form: JsonObject, *, param: str) -> JsonObject:
    """The schema of a format, refused where it breaks the rules of `strict`."""
    chat = param == "response_format"
    holder = as_object(form.get("json_schema")) if chat else form
    if holder is None:
        raise missing(f"{param}.json_schema")
    name = holder.get("name")
    if not isinstance(name, str):
        raise missing(f"{param}.json_schema.name" if chat else f"{param}.name")
    schema = as_object(holder.get("schema"))
    if schema is None:
        raise missing(f"{param}.json_schema.schema" if chat else f"{param}.schema")
    broken = violation(schema) if holder.get("strict") else None
    if broken is not None:
        raise Refusal(
            400,
            f"Invalid schema for response_format '{name}': {broken}",
            param=param if chat else f"{param}.schema",
            code=None if chat else "invalid_json_schema",
        )
    return schema


def functions_of(body: JsonObject) -> list[JsonObject]:
    """The functions a request offers: inside `function` for chat, flat for Responses."""
    functions: list[JsonObject] = []
    for position, value in enumerate(as_list(body.get("tools")) or []):
        tool = as_object(value) or {}
        if tool.get("type") != "function":
            continue
        function = as_object(tool.get("function")) or tool
        check_function(function, position, nested="function" in tool)
        functions.append(function)
    return functions


def check_function(function: JsonObject, position: int, *, nested: bool) -> None:
    where = f"tools[{position}].function" if nested else f"tools[{position}]"
    name = function.get("name")
    if not isinstance(name, str):
        raise missing(f"{where}.name")
    parameters = as_object(function.get("parameters"))
    broken = violation(parameters) if function.get("strict") and parameters else None
    if broken is not None:
        raise Refusal(
            400,
            f"Invalid schema for function '{name}': {broken}",
            param=f"{where}.parameters",
            code="invalid_function_parameters",
        )


def forced_function(body: JsonObject) -> JsonObject | None:
    """The function the request insists on; None where the model may just talk."""
    functions = functions_of(body)
    choice: Any = body.get("tool_choice")
    if choice == "required" and functions:
        return functions[0]
    wanted = as_object(choice)
    if wanted is None or wanted.get("type") != "function":
        return None
    name = (as_object(wanted.get("function")) or wanted).get("name")
    for function in functions:
        if function["name"] == name:
            return function
    raise Refusal(
        400,
        f"Invalid value for 'tool_choice': no tool named '{name}' was specified in the 'tools' "
        "parameter.",
        param="tool_choice",
    )


def arguments_for(function: JsonObject, said: Conversation) -> str:
    parameters = as_object(function.get("parameters")) or {"type": "object"}
    return json.dumps(instance(parameters, text=said.text, seed=said.seed), ensure_ascii=False)
