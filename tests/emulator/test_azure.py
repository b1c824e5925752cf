"""Azure's twins of the calls, with Azure's own client."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AzureOpenAI, OpenAI

from batchq.emulator import Emulator, running
from tests.emulator.support import Desk, desk, jsonl, line, lines


@pytest.fixture
def azure(emulator: Emulator) -> Iterator[Desk]:
    client = AzureOpenAI(
        azure_endpoint=emulator.root, api_key="az", api_version="2025-04-01-preview", max_retries=0
    )
    with client:
        yield Desk(client, emulator)


def test_a_batch_on_azure(azure: Desk) -> None:
    rows = [row | {"url": "/chat/completions"} for row in lines(3)]
    done = azure.run(rows, "/chat/completions")
    assert done.status == "completed"
    assert len(azure.ids(done.output_file_id)) == 3
    assert [batch.id for batch in azure.client.batches.list()] == [done.id]


def test_azure_also_takes_openais_urls(azure: Desk) -> None:
    assert azure.run(lines(1)).status == "completed"


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([line("a", url="/v1/embeddings")], "url_mismatch"),
        ([line("a"), line("b", {"model": "other", "messages": []})], "model_mismatch"),
    ],
)
def test_azure_has_codes_of_its_own(azure: Desk, rows: list[dict[str, Any]], code: str) -> None:
    done = azure.run(jsonl(rows))
    assert done.errors is not None
    assert done.errors.data is not None
    assert done.errors.data[0].code == code


def test_live_calls_go_to_a_deployment(azure: Desk) -> None:
    answer = azure.client.chat.completions.create(
        model="my-deployment", messages=[{"role": "user", "content": "Summarise: It is."}]
    )
    assert answer.model == "my-deployment"
    assert azure.client.embeddings.create(model="emb", input="x").data
    assert azure.client.responses.create(model="my-deployment", input="hello").output_text


def test_the_v1_api_of_azure(emulator: Emulator) -> None:
    with OpenAI(base_url=f"{emulator.root}/openai/v1/", api_key="az") as client:
        api = Desk(client, emulator)
        assert api.run(lines(1)).status == "completed"


def test_azure_has_a_target_and_no_end() -> None:
    with running(window=100.0, run_seconds=1000.0) as emulator:
        client = AzureOpenAI(azure_endpoint=emulator.root, api_key="az", api_version="2025-04-01")
        azure = Desk(client, emulator)
        batch = azure.submit(lines(2))
        azure.reach(batch, "in_progress")
        emulator.advance(500)
        assert azure.client.batches.retrieve(batch.id).status == "in_progress"
        emulator.advance(600)
        azure.reach(batch, "completed")


def test_a_wrong_key_is_refused() -> None:
    with running(arguments=["--api-key", "right"]) as emulator:
        client = AzureOpenAI(azure_endpoint=emulator.root, api_key="az", api_version="2025-04-01")
        with pytest.raises(openai.AuthenticationError):
            client.batches.list()
        assert desk(emulator, api_key="right").client.batches.list().data == []
