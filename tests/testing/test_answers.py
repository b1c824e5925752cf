"""`batchq.testing.answers`: tasks run in the test's process, and the test speaks for the model."""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from openai import AsyncOpenAI, BadRequestError, OpenAI, RateLimitError
from pydantic import BaseModel

import batchq
from batchq import batched_llm_task
from batchq.testing import Unanswered, answers, error, expired, in_turn, tool_call

App = Any  # Celery
MODEL = "gpt-5.6-luna"


def client(**options: Any) -> OpenAI:
    return OpenAI(**options)


def say(text: str, **more: Any) -> str:
    messages: list[Any] = [{"role": "user", "content": text}]
    completion = client().chat.completions.create(model=MODEL, messages=messages, **more)
    return str(completion.choices[0].message.content)


def task_of(app: App, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    decorate: Callable[[Any], Any] = batched_llm_task(app=app, shared=False, **options)
    return decorate


# A body, and what it sees


def test_a_body_runs_again_from_the_top_after_each_answer(app: App) -> None:
    runs: list[str] = []

    @task_of(app)
    def improve(text: str) -> str:
        runs.append(text)
        return say(f"improve {say(f'draft {text}')}")

    with answers({"improve": "good", "draft": "bad"}) as asked:
        assert improve.delay("a poem").get() == "good"
    assert len(runs) == 3
    assert [request.text for request in asked.prompts] == ["draft a poem", "improve bad"]
    assert (asked.rounds, asked.lines) == (2, 2)


@pytest.mark.parametrize("way", ["delay", "apply_async", "apply", "signature"])
def test_every_way_to_send_a_task_runs_it(app: App, way: str) -> None:
    @task_of(app)
    def ask(text: str) -> str:
        return say(text)

    ways: dict[str, Callable[[], Any]] = {
        "delay": lambda: ask.delay("hello"),
        "apply_async": lambda: ask.apply_async(("hello",), countdown=60),
        "apply": lambda: ask.apply(("hello",)),
        "signature": lambda: ask.s("hello").delay(),
    }
    with answers("hi") as asked:
        assert ways[way]().get() == "hi"
    assert len(asked.prompts) == 1
    asked.assert_nothing_live()


def test_a_plain_call_is_live_as_in_production_and_its_body_runs_once(app: App) -> None:
    runs: list[int] = []

    @task_of(app)
    def ask(text: str) -> str:
        runs.append(1)
        return say(text)

    with answers(lambda request: request.text.upper()) as asked:
        assert ask("hello") == "HELLO"
    assert (len(runs), asked.prompts, len(asked.live)) == (1, [], 1)
    with pytest.raises(AssertionError, match=r"(?s)would have gone live.*'hello'"):
        asked.assert_nothing_live()


def test_a_call_under_live_is_answered_once_for_all_runs_of_a_body(app: App) -> None:
    @task_of(app)
    def guarded(text: str) -> list[str]:
        with batchq.live():
            first = say(f"now {text}")
        return [first, say(f"later {text}")]

    with answers({"now": "1", "later": "2"}) as asked:
        assert guarded.delay("x").get() == ["1", "2"]
    assert [(request.text, request.live) for request in asked.requests] == [
        ("now x", True),
        ("later x", False),
    ]
    assert asked.live[0].task == guarded.name


def test_the_header_that_sends_one_call_live_does_so(app: App) -> None:
    @task_of(app)
    def ask(text: str) -> str:
        return say(text)

    with answers("hi") as asked:
        assert ask.apply_async(("hello",), headers={"batchq": "live"}).get() == "hi"
    assert len(asked.live) == 1


def test_a_step_of_once_runs_once(app: App) -> None:
    numbers = itertools.count(1)

    @task_of(app)
    def number(text: str) -> int:
        taken = batchq.once(lambda: next(numbers))
        say(f"{taken} {text}")
        return taken

    with answers("noted"):
        assert number.delay("x").get() == 1
    assert next(numbers) == 2


def test_arguments_that_a_body_changes_are_new_in_each_run(app: App) -> None:
    @task_of(app)
    def join(words: list[str]) -> str:
        words.append("end")
        return say(" ".join(words))

    with answers(lambda request: request.text) as asked:
        assert join.apply((["a", "b"],)).get() == "a b end"
    assert asked.lines == 1


def test_calls_side_by_side_share_a_round(app: App) -> None:
    @task_of(app)
    def both() -> list[str]:
        return batchq.gather(lambda: say("left"), lambda: say("right"))

    with answers(lambda request: request.text) as asked:
        assert both.delay().get() == ["left", "right"]
    assert (asked.rounds, asked.lines) == (1, 2)


def test_coroutines_share_a_round_too(app: App) -> None:
    async def one(text: str) -> str:
        async with AsyncOpenAI() as asking:
            messages: list[Any] = [{"role": "user", "content": text}]
            done = await asking.chat.completions.create(model=MODEL, messages=messages)
            return str(done.choices[0].message.content)

    async def all_of(texts: list[str]) -> list[str]:
        return list(await asyncio.gather(*map(one, texts)))

    @task_of(app)
    def ask(texts: list[str]) -> list[str]:
        return asyncio.run(all_of(texts))

    with answers(lambda request: request.text.upper()) as asked:
        assert ask.delay(["a", "b", "c"]).get() == ["A", "B", "C"]
        assert ask(["d"]) == ["D"]
    assert (asked.rounds, asked.lines, len(asked.live)) == (1, 3, 1)


def test_what_cannot_be_batched_is_refused_as_in_production(app: App) -> None:
    @task_of(app)
    def ask() -> str:
        return say("hello", extra_headers={"x-tenant": "7"})

    with answers("hi") as asked:
        assert isinstance(ask.delay().result, batchq.NotBatchable)
    assert asked.requests == []


def test_a_prompt_that_fits_no_file_is_refused(app: App) -> None:
    app.conf.batchq_accounts = {"small": {"limits": {"bytes": 200}}}

    @task_of(app)
    def ask() -> str:
        return say("x" * 300)

    with answers("hi"):
        assert isinstance(ask.delay().result, batchq.PromptTooLarge)


def test_an_app_without_a_redis_can_be_tested() -> None:
    """Suites give their apps a broker in memory, and batchq's settings want a Redis."""
    app = Celery("in_memory", broker="memory://", backend="cache+memory://")
    batchq.install(app)

    @task_of(app)
    def ask(text: str) -> str:
        return say(text)

    with answers("hi"):
        assert ask.delay("hello").get() == "hi"
    with pytest.raises(batchq.ConfigurationError, match="batchq_redis_url"):
        batchq.status(app)


# Answers


class Label(BaseModel):
    name: str
    urgent: bool


def test_a_model_of_pydantics_is_what_parse_finds(app: App) -> None:
    @task_of(app)
    def classify(text: str) -> list[str]:
        messages: list[Any] = [{"role": "user", "content": text}]
        chat = client().chat.completions.parse(
            model=MODEL, messages=messages, response_format=Label
        )
        response = client().responses.parse(model=MODEL, input=text, text_format=Label)
        found = [chat.choices[0].message.parsed, response.output_parsed]
        return [each.name for each in found if each is not None]

    with answers(Label(name="bill", urgent=True)) as asked:
        assert classify.delay("pay me").get() == ["bill", "bill"]
    asked.assert_asked(task=classify, endpoint="chat/completions", contains="pay", times=1)
    asked.assert_asked(endpoint="/v1/responses", model=MODEL)


def test_every_endpoint_gets_an_answer_of_its_own_form(app: App) -> None:
    asking: dict[str, Callable[[], Any]] = {
        "embeddings": lambda: [
            list(each.embedding)
            for each in client().embeddings.create(model="e", input=["a", "b"]).data
        ],
        "response": lambda: client().responses.create(model=MODEL, input="hello").output_text,
        "completion": lambda: client().completions.create(model="c", prompt="p").choices[0].text,
        "moderation": lambda: client().moderations.create(input="bad").results[0].flagged,
        "tool": lambda: (
            client()
            .chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "find"}])
            .choices[0]
            .message.tool_calls[0]  # type: ignore[index]
            .function.arguments  # type: ignore[union-attr]
        ),
        "function": lambda: (
            client().responses.create(model=MODEL, input="find").output[0].to_dict()["arguments"]
        ),
    }

    @task_of(app)
    def ask(what: str) -> Any:
        return asking[what]()

    given = {
        "embeddings": [0.5, 0.25],
        "response": "said",
        "completion": "done",
        "moderation": True,
        "tool": tool_call("find", id=3),
        "function": [tool_call("find", id=3)],
    }
    expected = {**given, "embeddings": [[0.5, 0.25]] * 2}
    expected["tool"] = expected["function"] = '{"id": 3}'
    for what, answer in given.items():
        with answers(answer):
            assert ask.delay(what).get() == expected[what]
            assert ask(what) == expected[what]


def test_a_dict_is_the_whole_body(app: App) -> None:
    @task_of(app)
    def ask() -> Any:
        return (
            client().responses.with_raw_response.create(model=MODEL, input="x").http_response.json()
        )

    body = {"id": "resp_1", "output": [], "mine": "all of it"}
    with answers(lambda _: body):
        assert ask.delay().get() == body


def test_an_error_is_the_exception_of_the_sdk(app: App) -> None:
    @task_of(app)
    def ask() -> str | None:
        try:
            return say("hello")
        except BadRequestError as refused:
            return refused.code

    with answers(error(400, code="context_length_exceeded")) as asked:
        assert ask.delay().get() == "context_length_exceeded"
        assert ask() == "context_length_exceeded"
    assert (asked.lines, len(asked.live)) == (1, 1)


@pytest.mark.parametrize("answer", [error(429, code="rate_limit_exceeded"), expired()])
def test_what_a_batch_asks_again_is_asked_again(app: App, answer: Any) -> None:
    @task_of(app)
    def ask() -> str:
        return say("hello")

    with answers(in_turn(answer, answer, "at last")) as asked:
        assert ask.delay().get() == "at last"
    assert [request.attempt for request in asked.requests] == [1, 2, 3]
    assert (asked.lines, asked.rounds, len(asked.prompts)) == (3, 1, 1)


def test_after_its_last_batch_the_body_gets_the_error(app: App) -> None:
    @task_of(app)
    def ask() -> str:
        with pytest.raises(RateLimitError) as limited:
            say("hello")
        return limited.value.code or ""

    with answers(error(429, code="rate_limit_exceeded")) as asked:
        assert ask.delay().get() == "rate_limit_exceeded"
    assert asked.lines == 3


def test_a_table_is_read_from_its_top(app: App) -> None:
    @task_of(app)
    def ask(text: str) -> str:
        return say(text)

    table = {
        re.compile(r"order \d+"): "an order",
        (lambda request: len(request.text) > 20): lambda request: str(len(request.text)),
        "refund": "a refund",
    }
    with answers(table):
        assert ask.delay("order 66, refund").get() == "an order"
        assert ask.delay("a refund").get() == "a refund"
        assert ask.delay("a refund that is long").get() == "21"


def test_a_text_of_a_table_is_looked_for_in_what_was_said_only(app: App) -> None:
    """A schema has the words of all answers in it."""

    class Kind(BaseModel):
        refund: str
        user: str

    @task_of(app)
    def ask(text: str) -> str:
        done = client().responses.parse(model=MODEL, input=text, text_format=Kind)
        return done.output_parsed.refund if done.output_parsed is not None else ""

    with answers({"refund": None, "user": None, "order": Kind(refund="no", user="x")}):
        assert ask.delay("an order").get() == "no"


# What has no answer


def test_what_has_no_answer_fails_the_test_and_says_what_was_asked(app: App) -> None:
    @task_of(app, autoretry_for=(Exception,), retry_kwargs={"max_retries": None})
    def ask(text: str) -> str:
        try:
            return say(text)
        except Exception:  # noqa: BLE001 as bodies do
            return "no answer"

    for call in (ask.delay, ask):
        expected = "no answer.*gpt-5.6-luna: 'what is this'"
        with pytest.raises(Unanswered, match=expected), answers({"something else": "yes"}):
            call("what is this")


def test_a_failure_that_a_body_swallows_fails_the_test_at_its_end(app: App) -> None:
    def swallow(text: str) -> str:
        try:
            return say(text)
        except BaseException:  # noqa: BLE001 as bodies do
            return "swallowed"

    with pytest.raises(Unanswered, match="'hello'"), answers({}):
        assert swallow("hello") == "swallowed"


def test_an_assertion_in_the_answer_fails_the_test(app: App) -> None:
    @task_of(app)
    def ask(text: str) -> str:
        return say(text)

    def answer(request: batchq.testing.Request) -> str:
        assert request.model == "another"
        return "hi"

    for call in (ask.delay, ask):
        with pytest.raises(Unanswered, match="own answer failed") as failed, answers(answer):
            call("hello")
        assert isinstance(failed.value.__cause__, AssertionError)


@pytest.mark.parametrize("answer", [3, object(), b"bytes", {1, 2}, {"a": {1}}])
def test_an_answer_of_no_use_fails_the_test(app: App, answer: Any) -> None:
    @task_of(app)
    def ask() -> str:
        return say("hello")

    with pytest.raises(Unanswered, match="answered with"), answers(lambda _: answer):
        ask.delay()


def test_other_hosts_are_called_as_ever(app: App, emulator: Any) -> None:
    """Only what is for a model is answered; what else a body asks is none of ours."""
    import httpx2

    @task_of(app)
    def ask() -> int:
        say("hello")
        return httpx2.get(f"{emulator.root}/emulator/ledger").status_code

    with answers("hi"):
        assert ask.delay().get() == 200


def test_a_model_is_not_called_whoever_calls_it(app: App) -> None:
    import httpx2

    @task_of(app)
    def ask() -> str:
        with batchq.live():
            url = "http://127.0.0.1:1/proxy/v1/responses"
            return str(httpx2.post(url, json={"model": "m", "input": "x"}).json()["model"])

    with answers("hi") as asked:
        assert ask.delay().get() == "m"
    assert [request.endpoint for request in asked.live] == ["/v1/responses"]


# Celery's own


def test_the_canvas_runs_as_eager_celery_runs_it(app: App) -> None:
    @task_of(app)
    def ask(text: str) -> str:
        return say(text)

    def plus(texts: list[str]) -> str:
        return "+".join(texts)

    join = app.task(plus)

    with answers(lambda request: request.text.upper()) as asked:
        assert chain(ask.s("a"), ask.s()).delay().get() == "A"
        assert group(ask.s(text) for text in "abc").delay().get() == ["A", "B", "C"]
        assert chord([ask.s(text) for text in "ab"], join.s() | ask.s()).delay().get() == "A+B"
    assert asked.lines == 8
    assert asked.rounds == 1


def test_a_retry_gets_its_answer_again_unless_that_was_bad(app: App) -> None:
    failures: list[type[Exception]] = []

    @task_of(app, autoretry_for=(OSError, ValueError), retry_kwargs={"countdown": 60})
    def save(text: str) -> str:
        answer = say(text)
        if failures:
            raise failures.pop()
        return answer

    with answers(in_turn("one", "two", "three")) as asked:
        failures[:] = [OSError]
        assert save.delay("a").get() == "one"
        assert asked.lines == 1
        failures[:] = [ValueError]
        assert save.delay("b").get() == "three"
        assert [request.number for request in asked.prompts] == [0, 0, 1]


def test_a_retry_by_the_body_itself_is_a_run_of_its_own(app: App) -> None:
    @task_of(app, bind=True)
    def ask(self: Any, text: str) -> str:
        answer = say(text)
        if self.request.retries == 0:
            raise self.retry(args=(f"again {text}",))
        return answer

    with answers(lambda request: request.text) as asked:
        assert ask.delay("x").get() == "again x"
    assert [(request.number, request.text) for request in asked.prompts] == [
        (0, "x"),
        (1, "again x"),
    ]


def test_a_task_that_is_sent_by_a_body_is_a_task_of_its_own(app: App) -> None:
    @task_of(app)
    def inner(text: str) -> str:
        return say(f"inner {text}")

    @task_of(app)
    def outer(text: str) -> str:
        answer = say(f"outer {text}")
        inner.delay(answer)
        return answer

    with answers(lambda request: request.text) as asked:
        assert outer.delay("x").get() == "outer x"
    assert {request.task for request in asked.prompts} == {inner.name, outer.name}
    assert asked.rounds == 1


def test_a_task_that_another_replaces_asks_under_the_same_id(app: App) -> None:
    @task_of(app)
    def second(text: str) -> str:
        return say(text)

    @task_of(app, bind=True)
    def first(self: Any, text: str) -> Any:
        say(text)
        return self.replace(second.s(text))

    with answers(lambda request: request.text.upper()) as asked:
        # With `delay`, eager Celery refuses to replace a task at all.
        assert first.apply(("x",)).get() == "X"
    assert [request.number for request in asked.prompts] == [0, 1]
    assert len({request.task_id for request in asked.prompts}) == 1


def test_a_shared_task_needs_no_app() -> None:
    """A library tests its tasks before anybody has made an app for them."""
    command = (
        "from openai import OpenAI\n"
        "from batchq import batched_llm_task\n"
        "from batchq.testing import answers\n"
        "@batched_llm_task\n"
        "def ask(text):\n"
        "    return OpenAI().responses.create(model='m', input=text).output_text\n"
        "with answers('hi') as asked:\n"
        "    print(ask.delay('hello').get(), asked.lines)"
    )
    said = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True
    )
    assert said.stdout == "hi 1\n"


def test_afterwards_everything_is_as_before(app: App) -> None:
    import os

    import httpx2

    before = (httpx2.HTTPTransport.handle_request, dict(os.environ), batchq.task.run_eager)
    with answers("a"), answers("b") as asked:
        assert say("hello") == "b"
        assert app.conf.task_always_eager
    assert len(asked.live) == 1
    after = (httpx2.HTTPTransport.handle_request, dict(os.environ), batchq.task.run_eager)
    assert before == after
    assert not app.conf.task_always_eager
