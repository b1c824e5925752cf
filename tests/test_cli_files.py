"""The commands that read a file: `validate` and `estimate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from hypothesis import given, settings
from hypothesis import strategies as st

from batchq.commands.batchfile import BatchFile, Problem
from batchq.commands.traffic import Traffic, Unreadable, Used
from batchq.emulator.validation import InvalidFile, Validation
from batchq.money.cost import Planned, Usage
from tests.apps.base import make_app
from tests.commands import Commands

MODEL = "gpt-5.6-luna"
CHAT = "/v1/chat/completions"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
#: In every file whose problems are told: nobody may read it there.
SECRET = "what the prompt says"


@pytest.fixture
def cli() -> Commands:
    """Without an app: these commands need none."""
    return Commands(Celery("bare", set_as_current=False))


def line(custom_id: object = "a", **changes: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": BODY, **changes}


def encoded(*lines: object) -> bytes:
    return b"".join(
        one + b"\n" if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in lines
    )


def problems(*lines: object, azure: bool = False) -> list[Problem]:
    raw = encoded(*lines).split(b"\n")[:-1]
    return list(BatchFile(azure=azure).problems(raw))


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in line("b").items() if key != name}


def embed(custom_id: str, given: Any) -> dict[str, Any]:
    body = {"model": "text-embedding-3-small", "input": given}
    return line(custom_id, url="/v1/embeddings", body=body)


# validate


def test_a_file_that_is_right_has_no_problem(cli: Commands, tmp_path: Path) -> None:
    file = tmp_path / "right.jsonl"
    file.write_bytes(encoded(line("a"), line("b"), line("c d é" * 40)))
    assert "3 lines" in cli.out("validate", str(file))
    assert "nothing is wrong" in cli.out("validate", str(file))
    found = cli.json("validate", str(file))
    assert (found["lines"], found["model"], found["endpoint"]) == (3, MODEL, CHAT)
    assert (found["problems"], found["left_out"]) == ([], 0)
    assert found["bytes"] == file.stat().st_size


@pytest.mark.parametrize(
    ("second", "code", "param", "words"),
    [
        (b"", "invalid_json_line", "", "the line is empty"),
        (b"   ", "invalid_json_line", "", "the line is empty"),
        (b'{"custom_id": "b"', "invalid_json_line", "", "not JSON (at character 18"),
        (b'{"custom_id": NaN}', "invalid_json_line", "", "NaN is no number"),
        (b'{"custom_id": "\xff"}', "invalid_json_line", "", "not UTF-8 (at byte 16)"),
        (b"[" * 100_000, "invalid_json_line", "", "nested too deeply"),
        (b'["custom_id"]', "invalid_json_line", "", "no object"),
        (without("custom_id"), "missing_required_parameter", "custom_id", "no custom_id"),
        (line(7), "invalid_request", "custom_id", "no text"),
        (line("a"), "duplicate_custom_id", "custom_id", "that of line 1"),
        (without("method"), "missing_required_parameter", "method", "no method"),
        (line("b", method="GET"), "invalid_request", "method", "not POST"),
        (without("url"), "missing_required_parameter", "url", "no url"),
        (line("b", url="/v1/responses"), "invalid_url", "url", "that of the lines before it"),
        (line("b", url="/v1/audio/speech"), "invalid_url", "url", "cannot be batched"),
        (line("b", url=SECRET), "invalid_url", "url", "something else cannot"),
        (without("body"), "missing_required_parameter", "body", "no body"),
        (line("b", body=[SECRET]), "invalid_request", "body", "no object"),
        (
            line("b", body={**BODY, "model": "other"}),
            "mismatched_model",
            "body.model",
            "its model is other",
        ),
        (
            line("b", body={"messages": [SECRET]}),
            "invalid_request",
            "body.model",
            "names no model",
        ),
        (
            line("b", body={**BODY, "stream": True}),
            "streaming_unsupported",
            "body.stream",
            "stream",
        ),
    ],
)
def test_a_line_that_fails_the_file_is_named(
    cli: Commands, tmp_path: Path, second: object, code: str, param: str, words: str
) -> None:
    (found,) = problems(line("a"), second)
    assert (found.line, found.code, found.param, found.fails_all) == (2, code, param, True)
    assert words in found.what
    file = tmp_path / "wrong.jsonl"
    file.write_bytes(encoded(line("a"), second))
    shown = cli.out("validate", str(file), code=1)
    assert words in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("second", "param", "words"),
    [
        (line("b", body={"model": MODEL}), "body.messages", "no messages"),
        (line("b", body={"model": MODEL, "messages": []}), "body.messages", "no messages"),
    ],
)
def test_a_line_that_fails_alone_is_named(second: object, param: str, words: str) -> None:
    (found,) = problems(line("a"), second)
    assert (found.line, found.param, found.fails_all) == (2, param, False)
    assert words in found.what


def test_embeddings_have_limits_of_their_own() -> None:
    assert problems(embed("a", "text"), embed("b", ["x", "y"]), embed("c", [1, 2])) == []
    assert problems(embed("a", [[1, 2], [3]])) == []
    (none,) = problems(embed("a", None))
    assert (none.code, none.fails_all) == ("missing_required_parameter", False)
    (empty,) = problems(embed("a", ["x", ""]))
    assert "one of its inputs is empty" in empty.what
    (many,) = problems(embed("a", ["x"] * 2_049))
    assert "2,049 inputs" in many.what
    assert not many.fails_all
    full = [embed(str(number), ["x"] * 2_000) for number in range(25)]
    assert problems(*full) == []
    (over, *rest) = problems(*full, embed("one", "x"), embed("two", "x"))
    assert (over.line, over.fails_all, rest) == (26, True, [])


def test_the_limits_of_a_file() -> None:
    line_of = b'{"custom_id": "%d", "method": "POST", "url": "/v1/moderations", "body": {"model": "m", "input": "x"}}'  # noqa: E501 one line of a file
    (found,) = problems(*(line_of % number for number in range(50_001)))
    assert (found.line, found.code) == (50_001, "too_many_tasks")
    (found,) = problems()
    assert (found.line, found.code) == (0, "empty_file")
    large = json.dumps(line("a", body={**BODY, "user": "x" * 1_000_000})).encode()
    seen = BatchFile()
    found_in = list(seen.problems(large.replace(b'"a"', b'"%d"' % n, 1) for n in range(201)))
    assert [(one.line, one.code) for one in found_in] == [(0, "file_too_large")]
    assert seen.size > 200_000_000


def test_a_byte_order_mark_is_seen() -> None:
    raw = json.dumps(line("a")).encode()
    (found,) = problems(b"\xef\xbb\xbf" + raw)
    assert "byte order mark" in found.what
    assert problems(raw + b"\r") == [], "a carriage return is blank space in JSON"


def test_azure_leaves_the_version_out() -> None:
    assert problems(line(url="/chat/completions"), azure=True) == []
    assert [one.code for one in problems(line(url="/chat/completions"))] == ["invalid_url"]


def test_all_problems_of_all_lines_are_told(cli: Commands, tmp_path: Path) -> None:
    file = tmp_path / "wrong.txt"
    file.write_bytes(encoded(*[b"nonsense"] * 150))
    found = cli.json("validate", str(file), code=1)
    assert found["problems"][0]["code"] == "invalid_file_format", "the provider looks at its name"
    assert (len(found["problems"]), found["left_out"]) == (101, 50)
    assert "51" not in cli.said("validate", str(file), "--limit", "0", code=1)
    assert "50 problems more" in cli.said("validate", str(file), code=1)
    everything = cli.json("validate", str(file), "--limit", "0", code=1)
    assert [one["line"] for one in everything["problems"]] == [None, *range(1, 151)]


def test_a_file_comes_from_a_pipe_too(cli: Commands) -> None:
    assert cli.json("validate", "-", given=encoded(line()))["lines"] == 1
    assert cli.json("validate", "-", given=b"", code=1)["problems"][0]["code"] == "empty_file"
    assert "does not exist" in cli.said("validate", "nobody.jsonl", code=2)


# What the emulator, and with it what we know of the provider, says of the same file.

WORDS: st.SearchStrategy[Any] = st.sampled_from(["a", "b", "", None, 7, [], {}])
URLS = st.sampled_from([CHAT, "/v1/responses", "/v1/embeddings", "/v1/nobody", None])
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from([MODEL, "other", "", None, 3]),
        "messages": st.just([{"role": "user", "content": "x"}]),
        "input": st.sampled_from(["x", ["x", "y"], [1, 2], None]),
        "stream": st.booleans(),
    },
)
LINES = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "custom_id": WORDS,
            "method": st.sampled_from(["POST", "GET", None]),
            "url": URLS,
            "body": st.one_of(BODIES, WORDS),
        },
    ),
    st.builds(line, st.sampled_from(["a", "b", "c"])),
    st.sampled_from([b"", b"{", b"[]", b'{"custom_id": Infinity}', b"\xff"]),
)


@settings(max_examples=300)
@given(st.lists(LINES, max_size=5))
def test_what_the_provider_refuses_is_what_is_told(lines: list[object]) -> None:
    raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines]
    seen = BatchFile()
    found = [one for one in seen.problems(raw) if one.fails_all]
    # The emulator stops at the first, and compares with the endpoint that the batch is created for.
    refused: tuple[str, int | None] | None = None
    provider = Validation(endpoint=seen.endpoint)
    try:
        for one in raw:
            provider.line(one)
        provider.end()
    except InvalidFile as error:
        refused = (error.code, error.line)
    ours = (found[0].code, found[0].line or None) if found else None
    assert ours == refused


# estimate


def read(*lines: object, **options: Any) -> list[Any]:
    return list(Traffic(**options).read(encoded(*lines).split(b"\n")))


USAGE = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
ANSWER = {"id": "chatcmpl-1", "object": "chat.completion", "model": MODEL, "usage": USAGE}
USED = Used(model=MODEL, usage=Usage(input_tokens=1000, output_tokens=200))


@pytest.mark.parametrize(
    "logged",
    [
        ANSWER,
        {"model": MODEL, "usage": {"input_tokens": 1000, "output_tokens": 200}},
        {"request": BODY, "response": ANSWER},
        {"model": MODEL, "response": {"usage": USAGE}, "time": "2026-11-01"},
        {"request": BODY, "response": {"status_code": 200, "body": ANSWER}},
    ],
)
def test_a_logged_call_has_its_tokens(logged: object) -> None:
    assert read(logged) == [USED]


@pytest.mark.parametrize(
    ("asked", "endpoint"),
    [
        (line(), CHAT),
        (BODY, CHAT),
        ({"body": BODY}, CHAT),
        ({"model": MODEL, "input": "x"}, "/v1/responses"),
        ({"model": "text-embedding-3-small", "input": ["x"]}, "/v1/embeddings"),
        ({"model": "omni-moderation-latest", "input": "x"}, "/v1/moderations"),
        ({"model": "davinci-002", "prompt": "x"}, "/v1/completions"),
    ],
)
def test_a_request_is_estimated(asked: Any, endpoint: str) -> None:
    (found,) = read(asked)
    assert isinstance(found, Planned)
    assert found.endpoint == endpoint
    assert found.input_tokens > 0
    assert (found.output_tokens == 0) == (endpoint in {"/v1/embeddings", "/v1/moderations"})


def test_texts_are_prompts_of_the_model_that_is_named() -> None:
    first, second = read({"prompt": "x" * 300}, "y" * 300, model=MODEL, output_tokens=7)
    assert first == second
    assert (first.model, first.output_tokens) == (MODEL, 7)
    assert [type(one) for one in read({"prompt": "x"}, "y")] == [Unreadable] * 2


def test_a_limit_of_the_request_caps_its_output() -> None:
    (found,) = read({**BODY, "max_completion_tokens": 10})
    assert found.output_tokens == 10


EXPORT = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1730419200,
            "end_time": 1730505600,
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 3_000_000_000,
                    "output_tokens": 500_000,
                    "input_cached_tokens": 1_000_000,
                    "num_model_requests": 50_000,
                    "model": MODEL,
                    "batch": False,
                },
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 10,
                    "output_tokens": 5,
                    "num_model_requests": 3,
                    "model": MODEL,
                    "batch": True,
                },
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 10,
                    "output_tokens": 5,
                    "num_model_requests": 1,
                    "model": None,
                    "batch": None,
                },
            ],
        },
        {"object": "bucket", "results": []},
    ],
}
EXPORTED = Used(
    model=MODEL,
    usage=Usage(input_tokens=3_000_000_000, cached_tokens=1_000_000, output_tokens=500_000),
    calls=50_000,
)


@pytest.mark.parametrize("indent", [None, 2])
def test_a_usage_export_is_read(indent: int | None) -> None:
    """As the API answers it, and as somebody has saved it, over many lines."""
    text = json.dumps(EXPORT, indent=indent).encode()
    first, batched, unnamed = read(*text.split(b"\n"))
    assert first == EXPORTED
    assert (batched.halved, batched.calls) == (True, 3)
    assert isinstance(unnamed, Unreadable)
    assert "group the export by model" in unnamed.why
    assert read(*json.dumps([EXPORT], indent=indent).encode().split(b"\n"))[0] == EXPORTED


@pytest.mark.parametrize("between", [",", "\t"])
def test_the_export_of_the_usage_page_is_read(between: str) -> None:
    header = "start_time,end_time,start_time_iso,num_model_requests,model,batch,service_tier"
    header += ",input_tokens,output_tokens,input_cached_tokens"
    rows = [
        header,
        f"1,2,2026-11-01,50000,{MODEL},false,default,3000000000,500000,1000000",
        f"1,2,2026-11-01,3,{MODEL},true,,10,5,0",
        "2,3,2026-11-02,,,,,,,",
        f"1,2,2026-11-01,1,{MODEL},False,flex,10.0,5,",
    ]
    found = read(*(row.replace(",", between).encode() for row in rows))
    assert found[0] == EXPORTED
    assert [one.halved for one in found] == [False, True, True]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"nonsense", "not JSON"),
        (b"{" * 100_000, "not JSON"),
        (b"7", "neither an object nor a text"),
        (b"{}", "no request"),
        ({"body": [1]}, "its body is no object"),
        ({"messages": [], "model": ""}, "names no model"),
        ({"model": MODEL, "usage": {}}, "no tokens"),
        ({"usage": USAGE}, "names no model"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_line(bad: object, why: str) -> None:
    first, second, third = read(BODY, bad, BODY)
    assert isinstance(first, Planned)
    assert isinstance(third, Planned)
    assert isinstance(second, Unreadable)
    assert second.line == 2
    assert why in second.why


@settings(max_examples=200)
@given(st.lists(st.one_of(st.binary(max_size=40), LINES), max_size=4))
def test_rubbish_is_no_reason_to_fall_over(lines: list[object]) -> None:
    for found in read(*lines):
        assert isinstance(found, (Planned, Used, Unreadable))


def test_what_is_found_is_priced(cli: Commands, tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_bytes(encoded(*[ANSWER] * 1000))
    found = cli.json("estimate", str(file))
    (model,) = found["models"]
    assert (model["model"], model["calls"], model["input_tokens"]) == (MODEL, 1000, 1_000_000)
    assert found["total"]["cost_usd"] * 2 == found["total"]["live_cost_usd"] > 0
    assert (found["total"]["estimated"], found["unreadable"]) == (False, [])
    shown = cli.out("estimate", str(file))
    assert MODEL in shown
    assert "~" not in shown, "the tokens are those of the answers"


def test_what_cannot_be_priced_or_read_is_told(cli: Commands, tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    nobody = {**ANSWER, "model": "gpt-nobody"}
    batched = {"custom_id": "a", "response": {"body": ANSWER}}
    file.write_bytes(encoded(ANSWER, nobody, b"rubbish", BODY, batched))
    result = cli.run("estimate", str(file), code=1)
    assert "unknown" in result.stdout
    assert "~$" in result.stdout
    assert "total" in result.stdout
    assert "line 3: it is not JSON" in result.stderr
    assert "1 call" in result.stderr
    found = cli.json("estimate", str(file), code=1)
    assert found["unreadable"] == [{"line": 3, "why": "it is not JSON"}]
    assert found["total"]["unpriced"] == found["total"]["halved"] == 1
    assert "nothing in it" in cli.run("estimate", "-", code=1, given=b"\n\n").stderr


def test_the_prices_are_those_of_the_app() -> None:
    own = {MODEL: {"input": 2, "output": 0}}
    accounts = {"one": {}, "proxy": {"base_url": "http://127.0.0.1:1/v1", "prices": "openai"}}
    app = make_app("priced", batchq_prices=own, batchq_accounts=accounts)
    found = Commands(app).json("estimate", "-", given=encoded(ANSWER))
    assert found["total"]["live_cost_usd"] == 0.002
    assert found["total"]["cost_usd"] == 0.001
    other = {**ANSWER, "model": "gpt-5.4-mini"}
    cli = Commands(app)
    assert cli.json("estimate", "-", given=encoded(other))["total"]["unpriced"] == 1
    proxied = cli.json("estimate", "-", "--account", "proxy", given=encoded(other))
    assert proxied["total"]["unpriced"] == 0
    assert "no account 'pro'" in cli.said("estimate", "-", "--account", "pro", code=2)


def test_an_account_needs_an_app(cli: Commands) -> None:
    assert "needs an app" in cli.said("estimate", "-", "--account", "one", code=2)


def test_a_sum_of_calls_is_not_one_long_call(cli: Commands) -> None:
    """A day of an export has more tokens than any request: it is not at the price of long ones."""
    each = {**ANSWER, "usage": {"prompt_tokens": 60_000, "completion_tokens": 10}}
    single = cli.json("estimate", "-", given=encoded(*[each] * 50))["total"]
    result = {
        "object": "organization.usage.completions.result",
        "model": MODEL,
        "input_tokens": 3_000_000,
        "output_tokens": 500,
        "num_model_requests": 50,
    }
    summed = cli.json("estimate", "-", given=encoded(result))["total"]
    assert summed["cost_usd"] == pytest.approx(single["cost_usd"])
