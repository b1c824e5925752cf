"""What people read of a request and of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchq.flower.texts import spoken


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {
                "messages": [
                    {"role": "system", "content": "Be short."},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is this?"},
                            {"type": "image_url", "image_url": {"url": "data:"}},
                        ],
                    },
                ]
            },
            [("system", "Be short."), ("user", "What is this?\n[image_url]")],
        ),
        (
            {"instructions": "Be kind.", "input": [{"role": "user", "content": "Hello"}]},
            [("instructions", "Be kind."), ("user", "Hello")],
        ),
        ({"input": "one"}, [("input", "one")]),
        ({"input": ["one", "two"]}, [("input", "one"), ("input", "two")]),
        ({"input": [1, 2, 3]}, []),
        ({"prompt": "Once"}, [("prompt", "Once")]),
        (
            {"choices": [{"message": {"role": "assistant", "content": "Yes"}}, {"text": "No"}]},
            [("assistant", "Yes"), ("answer", "No")],
        ),
        (
            {"choices": [{"message": {"role": "assistant", "content": None, "refusal": "No."}}]},
            [("assistant refuses", "No.")],
        ),
        (
            {
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}],
                        }
                    }
                ]
            },
            [("call", 'f({"a": 1})')],
        ),
        (
            {
                "output": [
                    {"type": "reasoning", "summary": []},
                    {"type": "function_call", "name": "f", "arguments": "{}"},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "output_text", "text": "Yes"},
                            {"type": "refusal", "refusal": "and no"},
                        ],
                    },
                ]
            },
            [("call", "f({})"), ("assistant", "Yes\nand no")],
        ),
        ({"error": {"message": "Too long.", "code": "x"}}, [("error", "Too long.")]),
        ({"data": [{"embedding": [0.1]}]}, []),
        ([], []),
    ],
)
def test_what_is_said(body: Any, said: list[tuple[str, str]]) -> None:
    assert list(spoken(json.dumps(body).encode())) == said


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                [
                    "messages",
                    "input",
                    "prompt",
                    "choices",
                    "message",
                    "output",
                    "error",
                    "role",
                    "content",
                    "text",
                    "type",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "refusal",
                    "instructions",
                ]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_whatever_a_body_holds_it_can_be_written(body: Any) -> None:
    for who, text in spoken(json.dumps(body).encode()):
        assert (who + text).encode()


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[" * 100_000, b'{"prompt": "\\ud800", "error": "no"}', b"3"]
)
def test_whatever_comes_it_does_not_fail(body: bytes) -> None:
    for _, text in spoken(body):
        assert text.encode()
