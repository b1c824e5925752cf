"""--upstream: every line is answered by another server. Here it is another emulator."""

import openai
import pytest

from batchq.emulator import Emulator, running
from tests.emulator.support import MODEL, chat_body, desk, line, lines


@pytest.fixture
def upstream(emulator: Emulator) -> Emulator:
    return emulator


def test_lines_are_answered_upstream(upstream: Emulator) -> None:
    with running(upstream=upstream.url) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.delenv("UPSTREAM_KEY", raising=False)
        api = desk(emulator)
        # The upstream wants a key, which this emulator does not have: an error of each line.
        done = api.run(lines(2))
        assert {row["response"]["status_code"] for row in api.rows(done.error_file_id)} == {401}


def test_the_key_comes_from_the_environment(
    upstream: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "sk-upstream")
    with running(upstream=upstream.url, upstream_key_env="UPSTREAM_KEY") as emulator:
        api = desk(emulator)
        rows = [*lines(40), line("bad", chat_body("x", temperature=9))]
        done = api.run(rows)
        assert done.request_counts is not None
        assert done.request_counts.model_dump() == {"total": 41, "completed": 40, "failed": 1}
        (bad,) = api.rows(done.error_file_id)
        assert bad["response"]["body"]["error"]["param"] == "temperature"
        assert upstream.ledger()["totals"]["live"]["ok"] == 40
        assert emulator.ledger()["totals"]["batch"]["ok"] == 40
        assert done.usage is not None
        assert done.usage.input_tokens == upstream.ledger()["totals"]["live"]["input_tokens"]

        answer = api.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Summarise: It is."}]
        )
        assert answer.choices[0].message.content == "It is."
        assert upstream.ledger()["live_calls"] == 42


def test_an_upstream_that_is_not_there_is_an_error_of_each_line() -> None:
    with running(upstream="http://127.0.0.1:9/v1") as emulator:
        api = desk(emulator)
        done = api.run(lines(2))
        errors = [row["response"]["body"]["error"] for row in api.rows(done.error_file_id)]
        assert [error["code"] for error in errors] == ["upstream_error", "upstream_error"]
        assert done.status == "completed"
        with pytest.raises(openai.InternalServerError, match="could not be reached"):
            api.client.responses.create(model=MODEL, input="hello")


def test_a_key_that_is_not_there_ends_the_emulator_at_once() -> None:
    with (
        pytest.raises(RuntimeError, match="did not start"),
        running(upstream="http://127.0.0.1:9/v1", upstream_key_env="NO_SUCH_KEY"),
    ):
        pass
