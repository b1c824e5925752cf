"""What the page of one task says: its calls, their places, their texts where these are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.fernet import Fernet

from batchq.errors import NotFound
from batchq.flower.one_task import MOST, PAGE, CallOnPage, TaskPage, Text, read_task
from batchq.journal import Entry, Journal, journal_of
from batchq.overview import dead
from batchq.prompt import Outcome
from tests.apps.base import make_app
from tests.flower.filled import ask, kill, settle
from tests.harness import Server
from tests.journals import LANE, chat, claim
from tests.test_flow import EMBEDDINGS


@pytest.fixture
def app(server: Server) -> Any:
    app = make_app("one_task", batchq_flush_after=900)
    app.finalize()
    return app


def read(app: Any, task_id: str, **options: Any) -> TaskPage:
    return read_task(app, task_id, **{"texts": True, **options})


def only(page: TaskPage) -> CallOnPage:
    (call,) = page.calls
    return call


def answer(
    journal: Journal, task_id: str, body: bytes, *, number: int = 0, status: int = 200
) -> None:
    outcome = Outcome(status_code=status, body=body)
    journal.answers.add(LANE, [(f"{task_id}-{number}", outcome)])


def test_a_call_that_waits_says_for_what(app: Any) -> None:
    task_id = ask(journal_of(app), chat("why?"))
    page = read(app, task_id)
    call = only(page)
    assert page.word == "waits for 1 of 1 answers"
    assert page.can_revoke
    assert (call.word, call.batch) == ("waits in its lane", "")
    assert call.next_flush is not None
    assert "batchq_flush_after" in call.next_flush.why
    assert call.question is not None
    assert '"content": "why?"' in call.question.shown
    assert call.answer is not None
    assert (call.answer.shown, call.answer.why) == ("", "There is none yet.")


def test_texts_are_read_only_where_they_are_shown(app: Any) -> None:
    task_id = ask(journal_of(app), chat("why?"))
    answer(journal_of(app), task_id, b'{"a": "because"}')
    call = only(read_task(app, task_id))
    assert call.question is None
    assert call.answer is None
    assert "why?" not in repr(read_task(app, task_id))


def test_what_came_back(app: Any) -> None:
    journal = journal_of(app)
    task_id = ask(journal, chat("a"), chat("b"))
    answer(journal_of(app), task_id, b'{"text": "an answer"}')
    answer(journal_of(app), task_id, b'{"error": {"code": "too_long"}}', number=1, status=400)
    page = read(app, task_id)
    first, second = page.calls
    assert (first.word, first.tone, first.record.status_code) == ("answered", "success", 200)
    assert (second.word, second.tone, second.record.code) == ("failed", "danger", "too_long")
    assert first.answer is not None
    assert '"text": "an answer"' in first.answer.shown
    assert page.word == "has its answers and is on its way back to a worker"
    settle(journal, task_id)
    page = read(app, task_id)
    assert page.word == "ended: SUCCESS"
    assert not page.can_revoke
    assert [call.record.status_code for call in page.calls] == [200, 400]
    for call in page.calls:
        assert call.question is not None
        assert "not kept any more" in call.question.why


def test_a_second_round_is_told_from_the_first(app: Any) -> None:
    journal = journal_of(app)
    task_id = ask(journal, chat("a"))
    answer(journal_of(app), task_id, b"{}")
    ask(journal, chat("b"), task_id=task_id)
    page = read(app, task_id)
    assert [call.record.round for call in page.calls] == [0, 1]
    assert page.word == "waits for 1 of 2 answers"


def test_a_live_call_has_no_batch(app: Any) -> None:
    journal = journal_of(app)
    lease, _ = claim(journal, "live")
    entry = Entry(
        number=0,
        endpoint="/v1/chat/completions",
        model="m",
        fingerprint="f",
        round=0,
        outcome=Outcome(status_code=200, body=b'{"live": true}'),
    )
    journal.runs.note_live("live", token=lease.token, entry=entry)
    page = read(app, "live")
    call = only(page)
    assert call.is_live
    assert call.word == "answered live"
    assert call.answer is not None
    assert '"live": true' in call.answer.shown
    assert page.word == "its body runs"


def test_many_calls_are_on_pages(app: Any) -> None:
    task_id = ask(journal_of(app), *(chat(str(number)) for number in range(2 * PAGE + 5)))
    assert read(app, task_id).pages == 3
    assert len(read(app, task_id, page=99).calls) == 5
    for number in (0, PAGE - 1, PAGE, 2 * PAGE + 4):
        page = read(app, task_id, call=number)
        assert number in {call.record.number for call in page.calls}
    assert read(app, task_id, call=10**8).page == 3


def test_a_long_text_is_cut(app: Any) -> None:
    task_id = ask(journal_of(app), chat("x" * (MOST + 1000)))
    call = only(read(app, task_id))
    assert call.question is not None
    assert len(call.question.shown) == MOST
    assert call.question.left_out > 1000


def test_an_embedding_stays_on_one_line(app: Any) -> None:
    task_id = ask(journal_of(app), b'{"model": "m", "input": "a"}', lane=EMBEDDINGS)
    body = json.dumps({"data": [{"embedding": [0.1] * 1536}]}).encode()
    outcome = Outcome(status_code=200, body=body)
    journal_of(app).answers.add(EMBEDDINGS, [(f"{task_id}-0", outcome)])
    call = only(read(app, task_id))
    assert call.answer is not None
    assert len(call.answer.shown.splitlines()) < 10


def test_without_the_key_it_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower may run where the keys are not."""

    def question(name: str, key: str) -> Text:
        monkeypatch.setenv("KEY_OF_TEST", key)
        found = only(read(make_app(name, **options), task_id)).question
        assert found is not None
        return found

    options = {"batchq_encryption": "env:KEY_OF_TEST"}
    key = Fernet.generate_key().decode()
    monkeypatch.setenv("KEY_OF_TEST", key)
    task_id = ask(journal_of(make_app("sealed", **options)), chat("a secret"))
    assert "a secret" in question("opens", key).shown
    for name, other in (("other", Fernet.generate_key().decode()), ("none", "")):
        text = question(name, other)
        assert text.shown == ""
        assert "KEY_OF_TEST" in text.why


def test_the_dead_have_a_name_where_there_is_no_key(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of the dead was an error page wherever Flower had no key."""
    options = {"batchq_encryption": "env:KEY_OF_TEST"}
    monkeypatch.setenv("KEY_OF_TEST", Fernet.generate_key().decode())
    journal = journal_of(make_app("sealed", **options))
    task_id = ask(journal, chat("a secret"), name="shop.kills")
    answer(journal, task_id, b"{}")
    kill(journal, task_id, "shop.kills")
    assert dead(make_app("opens", **options))[0].name == "shop.kills"
    monkeypatch.setenv("KEY_OF_TEST", "")
    assert dead(make_app("looks", **options))[0].name == "shop.kills"


def test_damage_is_told_and_breaks_nothing(app: Any, server: Server) -> None:
    journal = journal_of(app)
    task_id = ask(journal, chat("a"), chat("b"))
    server.client.hset(journal.store.bodies_key(task_id), "0", "rubbish")
    server.client.hset(journal.store.task_key(task_id), "1:record", "rubbish")
    page = read(app, task_id)
    call = only(page)
    assert call.question is not None
    assert "damaged" in call.question.why
    server.client.set(app.backend.get_key_for_task(task_id), b"\xff\xfe")
    assert read(app, task_id).state == ""


def test_a_task_nobody_knows(app: Any) -> None:
    with pytest.raises(NotFound):
        read(app, "nobody")
