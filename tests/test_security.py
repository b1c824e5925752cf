"""Keys, prompts and answers are nowhere but where they have to be; docs/security.md says where."""

from __future__ import annotations

import ast
import json
import urllib.request
from typing import Any

import openai
import pytest
import redis

import batchq
from batchq import errors
from batchq.capture.http.httpx_answers import replayed_response
from batchq.capture.http.replays import replay_of
from batchq.capture.run import Question
from batchq.errors import ProviderRefused
from batchq.journal import Journal
from batchq.overview import status
from batchq.prompt import Lane, Outcome, Prompt
from batchq.settings.config import settings
from tests.apps import canary
from tests.apps.canary import KEY, PROMPT
from tests.harness import ROOT, ReservedPort, Stack, keys_without_end, wait_until
from tests.journals import DOCUMENTED
from tests.outcomes import _texts, skip_pause

APP = "tests.apps.canary"


class Journey:
    """A worker, a beat, Flower and a listener to events, all of them with the canary key."""

    def __init__(self, stack: Stack, *, loud: bool) -> None:
        self.stack = stack
        self.answers = stack.directory / "answers"
        self.answers.touch()
        environment = {"OPENAI_API_KEY": KEY, "CANARY_ANSWERS": str(self.answers)}
        environment |= {"CANARY_LOUD": "1"} if loud else {}
        level = "debug" if loud else "info"
        self.worker = stack.worker(APP, "--loglevel", level, environment=environment)
        self.beat = stack.beat(APP, "--loglevel", level, environment=environment)
        self.events = stack.celery(APP, "events", "--dump", name="events", environment=environment)
        self.redis = redis.Redis.from_url(stack.server.url)

    def holding(self, *texts: str) -> set[str]:
        """The keys of Redis that hold one of these."""
        wanted = [text.encode() for text in texts]
        found = _texts(self.redis)
        return {key.decode() for key, held in found if any(text in held for text in wanted)}

    def flush(self) -> None:
        canary.app.tasks["batchq.flush"].delay(everything=True)

    def until(self, journal: Journal, **counts: int) -> None:
        for name, count in counts.items():
            wait_until(
                lambda name=name, count=count: journal.tallies.counters().get(name) == count,  # type: ignore[misc]
                description=f"{count} prompts are {name}",
            )

    def outputs(self) -> dict[str, str]:
        return {process.name: process.output() for process in self.stack.processes}


@pytest.mark.parametrize("loud", [False, True], ids=["info", "debug"])
def test_no_log_and_no_key_of_others_holds_a_canary(stack: Stack, *, loud: bool) -> None:
    """Through refusals that repeat the prompt and the key, on both sides of a batch."""
    journey = Journey(stack, loud=loud)
    journal = batchq.journal.journal_of(canary.app)
    emulator = stack.emulator
    quoting = f"Sorry, but “{PROMPT} 7” with {KEY} is not what I like."
    sent = canary.ask.delay(7)
    journey.until(journal, captured=1)
    prompts = {journal.store.bodies_key(sent.id)}
    assert journey.holding(PROMPT) == prompts, "the prompt waits where it is made to wait"
    emulator.fault("rows_500", message=quoting)
    for call, code in (("upload", 400), ("upload", 500), ("create", 400), ("create", 500)):
        emulator.fault("call_error", call=call, status=code, message=quoting)
        journey.flush()
        said = {"upload": "files.create", "create": "batches.create"}[call]
        wait_until(
            lambda said=said, code=code: any(  # type: ignore[misc]
                said in one.note and str(code) in one.note for one in journal.batches.open()
            ),
            description=f"{call} was answered with {code}",
        )
        assert journey.holding(PROMPT) == prompts

    def asked_again() -> bool:
        skip_pause(stack, journal)
        return bool(status(canary.app).lanes)

    wait_until(asked_again, description="it is to be asked again")
    journey.flush()
    journey.until(journal, captured=2)
    journey.worker.pause()
    outcome = journal.store.redis.hget(journal.store.task_key(sent.id), "0:outcome")
    answer = json.loads(Outcome.from_bytes(outcome).body)["choices"][0]["message"]["content"]
    assert journey.holding(answer) == {journal.store.task_key(sent.id)}
    assert journey.holding(KEY) == set()
    shown = repr(status(canary.app))
    assert not any(text in shown for text in (PROMPT, KEY, answer))
    journey.worker.resume()
    journey.flush()
    assert sent.get(timeout=30) == len(answer)
    journey.events.wait_for_output("task succeeded: tests.apps.canary.ask")
    secrets = (PROMPT, KEY, *journey.answers.read_text().split("\n")[:2])
    assert journey.holding(*secrets) == set(), "nothing stays of what is over"
    for name, output in journey.outputs().items():
        assert not [text for text in secrets if text in output], name
    assert "task batched" in journey.events.output()
    assert keys_without_end(stack.redis, documented=DOCUMENTED) == []
    journey.redis.close()


def test_an_error_of_the_api_is_stored_as_celery_stores_it_and_without_the_key(
    stack: Stack,
) -> None:
    """What the provider says of a prompt is the task's own exception, as it is for a live call."""
    journey = Journey(stack, loud=False)
    stack.emulator.fault("line_error", status=400, message=f"I do not like {PROMPT}.")
    sent = canary.fail.delay(1)
    journey.until(batchq.journal.journal_of(canary.app), captured=1)
    journey.flush()
    with pytest.raises(Exception, match=PROMPT):
        sent.get(timeout=30)
    # Its result is there a moment before the journal lets go of it.
    wait_until(lambda: status(canary.app).tasks_resuming == 0, description="it is over")
    assert journey.holding(PROMPT) == {f"celery-task-meta-{sent.id}"}
    assert journey.holding(KEY) == set()
    assert not [name for name, output in journey.outputs().items() if KEY in output]
    journey.redis.close()


def test_flower_shows_no_prompt_and_no_key(stack: Stack) -> None:
    journey = Journey(stack, loud=False)
    port = ReservedPort()
    url = f"http://127.0.0.1:{port.number}"
    flower = stack.celery(
        APP,
        *("flower", "--address=127.0.0.1", f"--port={port.release()}"),
        name="flower",
        environment={"OPENAI_API_KEY": KEY, "FLOWER_UNAUTHENTICATED_API": "true"},
    )
    flower.wait_for_output("Connected to")
    sent = canary.ask.delay(3)
    known = wait_until(lambda: fetched(f"{url}/api/tasks?state=BATCHED"), description="it waits")
    assert sent.id in known
    pages = [known, fetched(f"{url}/api/task/info/{sent.id}"), fetched(f"{url}/task/{sent.id}")]
    pages += [fetched(f"{url}/api/workers"), fetched(f"{url}/metrics"), fetched(f"{url}/broker")]
    assert not [page for page in pages if PROMPT in page or KEY in page]
    journey.redis.close()


def fetched(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            text: str = page.read().decode()
            return "" if text.strip() == "{}" else text
    except OSError:
        return ""


# What an error carries


def test_an_error_of_a_captured_call_carries_no_key() -> None:
    """The SDK's errors hold their request, and trackers of errors send its headers on."""
    import httpx

    for header in ("authorization", "api-key"):
        request = httpx.Request("POST", "http://127.0.0.1/v1/x", headers={header: f"Bearer {KEY}"})
        outcome = Outcome.error(400, code="no", message="no")
        response = replayed_response(request, replay_of(outcome))
        error = openai.BadRequestError("no", response=response, body=None)
        assert KEY not in repr(dict(error.request.headers))
        assert KEY not in repr(dict(error.response.request.headers))


@pytest.mark.parametrize("call", sorted(errors.SENDS_PROMPTS))
def test_a_refusal_does_not_repeat_what_the_provider_repeats(call: str) -> None:
    """Its words are kept for the task whose prompt it is, and go no further."""
    refused = ProviderRefused("default", call, 400, "odd", f"I read {PROMPT}", "file")
    assert refused.message == f"I read {PROMPT}"
    assert PROMPT not in f"{refused} {refused!r} {refused.args}"
    assert str(refused) == f"{call} on account 'default' was refused: 400 odd (param file)"


def test_nothing_that_is_ours_shows_a_prompt() -> None:
    """Where local variables are shown with a traceback, they are shown by their repr."""
    lane = Lane(account="a", endpoint="/v1/x", model="m")
    body = PROMPT.encode()
    question = Question(
        account="a", endpoint="/v1/x", model="m", body=body, fingerprint="f", inputs=0
    )
    prompt = Prompt(
        task_id="t", number=0, lane=lane, body=body, fingerprint="f", tokens=1, inputs=0, round=0
    )
    outcome = Outcome(status_code=200, body=body)
    for one in (question, prompt, outcome):
        assert PROMPT not in repr(one)


def test_settings_and_accounts_show_no_key_and_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    app = canary.app
    config = settings(app)
    config.accounts["default"].key()
    shown = f"{config!r} {config} {config.model_dump()} {config.accounts!r} {app.conf}"
    assert KEY not in shown


# Only JSON is read


def test_no_module_imports_what_executes_what_it_reads() -> None:
    """The canaries of tests/test_rubbish.py show the same from the outside."""
    forbidden = {"pickle", "cPickle", "dill", "marshal", "shelve", "yaml", "cloudpickle"}
    for path in (ROOT / "batchq").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & forbidden, path
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id in {"eval", "exec"}), path


# Files at the provider


@pytest.mark.parametrize(
    "fault", ["", "upload_drop_after", "create_500", "content_cut", "all_lines_fail", "rows_500"]
)
def test_files_expire_and_are_deleted_once_they_are_read(stack: Stack, fault: str) -> None:
    """An upload whose answer was lost is found again, and its file goes like any other."""
    journey = Journey(stack, loud=False)
    if fault:
        stack.emulator.fault(fault)
    sent = canary.fail.delay(1)
    journey.until(batchq.journal.journal_of(canary.app), captured=1)
    journey.flush()
    journal = batchq.journal.journal_of(canary.app)

    def over() -> bool:
        skip_pause(stack, journal)
        return sent.ready() and not status(canary.app).batches

    wait_until(over, description="all batches are over")
    files = stored_files(stack)
    assert files == [], "each was deleted"
    journey.redis.close()


def stored_files(stack: Stack) -> list[Any]:
    client = openai.OpenAI(base_url=stack.emulator.url, api_key="any")
    with client:
        return list(client.files.list())
