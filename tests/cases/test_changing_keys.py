"""Keys that change were nobody's: a token of Entra ID or of a vault is another one each hour.

Where one account has the base URL it is that account's call, whatever the key; two accounts at one
URL are told apart by all that a call says of itself, and where that does not tell, in words.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

from batchq import UnknownAccount
from batchq.errors import ProviderUnauthorized
from batchq.flow.flush import flush
from batchq.provider.client import provider_for
from batchq.settings.config import settings
from tests.capture.bench import Bench, ask, ask_async
from tests.gateway import Gateway
from tests.harness import Emulator, Server

API_VERSION = "2024-10-21"

MakeBench = Callable[..., Bench]


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the module `firm` holds, which settings name functions of."""
    module = ModuleType("firm")
    monkeypatch.setitem(sys.modules, "firm", module)
    return vars(module)


class Vault:
    """Gives another key each time, and knows those that it has given of late."""

    def __init__(self) -> None:
        self._numbers = count()
        self.last = ""

    def key(self) -> str:
        self.last = f"key-{next(self._numbers)}"
        return self.last

    async def key_async(self) -> str:
        await asyncio.sleep(0)
        return self.key()

    def demands(self, headers: Message) -> bool:
        return headers["authorization"] == f"Bearer {self.last}"


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def guarded(emulator: Emulator, vault: Vault) -> Iterator[Gateway]:
    """The provider, which takes the vault's newest key only."""
    with Gateway(emulator.port, demands=vault.demands) as gateway:
        yield gateway


# A key by a function


def test_a_client_whose_key_is_a_function(
    make_bench: MakeBench, guarded: Gateway, vault: Vault, firm: dict[str, Any]
) -> None:
    firm["key"] = vault.key
    accounts = {"default": {"base_url": guarded.url, "api_key": "call:firm:key"}}
    bench = make_bench(batchq_accounts=accounts)
    client = OpenAI(base_url=guarded.url, api_key=vault.key)

    @bench.task
    def body() -> str:
        return ask(client, "hello")

    assert bench.run(body)
    assert bench.emulator.ledger()["lines_known"] == 1
    assert guarded.refused == []


def test_an_async_client_whose_key_is_a_function(
    make_bench: MakeBench, guarded: Gateway, vault: Vault, firm: dict[str, Any]
) -> None:
    """The account may name the same function, async as it is."""
    firm["key"] = vault.key_async
    accounts = {"default": {"base_url": guarded.url, "api_key": "call:firm:key"}}
    bench = make_bench(batchq_accounts=accounts)

    async def call() -> str:
        async with AsyncOpenAI(base_url=guarded.url, api_key=vault.key_async) as client:
            return await ask_async(client, "hello")

    @bench.task
    def body() -> str:
        return asyncio.run(call())

    assert bench.run(body)
    assert guarded.refused == []


def test_an_async_function_is_asked_where_a_loop_runs_already(
    make_bench: MakeBench, emulator: Emulator, firm: dict[str, Any]
) -> None:
    """Two accounts at one URL: their keys are read while the body's loop runs."""

    async def key() -> str:
        await asyncio.sleep(0)
        return "key-of-first"

    firm["key"] = key
    both = {"first": {"api_key": "call:firm:key"}, "second": {}}
    bench = make_bench(batchq_accounts=both)

    async def call() -> str:
        async with AsyncOpenAI(api_key="key-of-first") as client:
            return await ask_async(client, "hello")

    @bench.task
    def body() -> str:
        return asyncio.run(call())

    bench.ask(body)
    assert accounts_of(bench) == {"first"}


# Entra ID

AZURE_CLIENTS: dict[str, Callable[[str, Any], Any]] = {
    "with a version": lambda root, token: AzureOpenAI(
        azure_endpoint=root, api_version=API_VERSION, azure_ad_token_provider=token
    ),
    "of the v1 API": lambda root, token: OpenAI(base_url=f"{root}/openai/v1/", api_key=token),
}


@pytest.mark.parametrize("version", [{}, {"api_version": API_VERSION}])
@pytest.mark.parametrize("name", AZURE_CLIENTS)
def test_entra_id(
    make_bench: MakeBench,
    guarded: Gateway,
    vault: Vault,
    firm: dict[str, Any],
    name: str,
    version: dict[str, str],
) -> None:
    firm["token"] = vault.key
    azure = {"kind": "azure", "base_url": guarded.root, "azure_ad_token": "call:firm:token"}
    bench = make_bench(batchq_accounts={"azure": {**azure, **version}})
    client = AZURE_CLIENTS[name](guarded.root, vault.key)

    @bench.task
    def body() -> str:
        return ask(client, "hello")

    assert bench.run(body)
    assert guarded.refused == []


def test_entra_id_by_an_async_client(
    make_bench: MakeBench, guarded: Gateway, vault: Vault, firm: dict[str, Any]
) -> None:
    firm["token"] = vault.key
    azure = {"kind": "azure", "base_url": guarded.root, "azure_ad_token": "call:firm:token"}
    bench = make_bench(batchq_accounts={"azure": azure})

    async def call() -> str:
        async with AsyncAzureOpenAI(
            azure_endpoint=guarded.root,
            api_version=API_VERSION,
            azure_ad_token_provider=vault.key_async,
        ) as client:
            return await ask_async(client, "hello")

    @bench.task
    def body() -> str:
        return asyncio.run(call())

    assert bench.run(body)


# A client of the user's own


def test_a_function_makes_the_accounts_client(
    make_bench: MakeBench, guarded: Gateway, vault: Vault, firm: dict[str, Any]
) -> None:
    firm["client"] = lambda: OpenAI(base_url=guarded.url, api_key=vault.key)
    accounts = {"default": {"base_url": guarded.url, "client": "call:firm:client"}}
    bench = make_bench(batchq_accounts=accounts)
    client = OpenAI(base_url=guarded.url, api_key=vault.key)

    @bench.task
    def body() -> str:
        return ask(client, "hello")

    assert bench.run(body)
    assert guarded.refused == []


def test_a_client_whose_key_is_no_more_taken_is_made_anew(
    make_bench: MakeBench, guarded: Gateway, vault: Vault, firm: dict[str, Any]
) -> None:
    firm["client"] = lambda: OpenAI(base_url=guarded.url, api_key=vault.key())
    accounts = {"default": {"base_url": guarded.url, "client": "call:firm:client"}}
    bench = make_bench(batchq_accounts=accounts)
    provider = provider_for(settings(bench.app), "default")
    provider.look()
    vault.key()  # What the account's client has is refused from now on.
    with pytest.raises(ProviderUnauthorized):
        provider.look()
    provider.look()
    assert len(guarded.refused) == 1


class _TokenServer(BaseHTTPRequestHandler):
    """Gives tokens for the token of a cluster, as OpenAI's does (RFC 8693)."""

    given: list[str]

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert asked["subject_token"] == "of the cluster"
        self.given.append(f"token-{len(self.given)}")
        said = {
            "access_token": self.given[-1],
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        content = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Its tokens are in `given`."""


@pytest.fixture
def tokens() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server of tokens, and those that it has given."""
    given: list[str] = []
    handler = type("TokenServer", (_TokenServer,), {"given": given})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/oauth/token", given
    server.shutdown()
    server.server_close()
    thread.join(10)


def asking_at(where: str, client: Any) -> Any:
    """The client, and each copy that is made of it, gets its tokens from ``where``."""
    client._workload_identity_auth.token_exchange_url = where
    copy = client.with_options
    client.with_options = lambda **options: asking_at(where, copy(**options))
    return client


def test_workload_identity(
    make_bench: MakeBench,
    emulator: Emulator,
    tokens: tuple[str, list[str]],
    firm: dict[str, Any],
) -> None:
    """No key at all: the SDK gets its token for that of the cluster. Each client gets its own."""
    where, given = tokens

    def demands(headers: Message) -> bool:
        return headers["authorization"].removeprefix("Bearer ") in given

    with Gateway(emulator.port, demands=demands) as gateway:

        def client() -> Any:
            identity: Any = {
                "identity_provider_id": "idp_1",
                "service_account_id": "svc_1",
                "provider": {"token_type": "jwt", "get_token": lambda: "of the cluster"},
            }
            return asking_at(where, OpenAI(base_url=gateway.url, workload_identity=identity))

        firm["client"] = client
        accounts = {"default": {"base_url": gateway.url, "client": "call:firm:client"}}
        bench = make_bench(batchq_accounts=accounts)
        ours = client()

        @bench.task
        def body() -> str:
            return ask(ours, "hello")

        assert bench.run(body)
        assert len(given) >= 2
        assert gateway.refused == []


# A key that is rotated


def test_a_key_that_is_rotated_in_the_middle_of_a_batch(
    make_bench: MakeBench, emulator: Emulator, tmp_path: Path
) -> None:
    """Asked under one key, uploaded under the next, fetched under a third."""
    secret = tmp_path / "key"

    def demands(headers: Message) -> bool:
        return headers["authorization"] == f"Bearer {secret.read_text()}"

    with Gateway(emulator.port, demands=demands) as gateway:
        secret.write_text("first-key")
        accounts = {"default": {"base_url": gateway.url, "api_key": f"file:{secret}"}}
        bench = make_bench(batchq_accounts=accounts)
        client = OpenAI(base_url=gateway.url, api_key=secret.read_text())

        @bench.task
        def body() -> str:
            return ask(client, "hello")

        result = bench.ask(body)
        secret.write_text("second-key")
        flush(bench.app, everything=True)
        for batch in bench.journal.batches.open():
            flush(bench.app, batch.id)
        secret.write_text("third-key")
        bench.answer()
        bench.deliver()
        assert result.state == "SUCCESS"
        assert gateway.refused == []
        # The client has the key of the start still, and its calls are the account's.
        assert bench.run(body)


def test_a_rotated_key_belongs_to_its_account_still(
    make_bench: MakeBench, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two accounts have the URL, what this process knows of their keys tells."""
    monkeypatch.setenv("FIRST", "first-key")
    monkeypatch.setenv("SECOND", "second-key")
    both = {"first": {"api_key": "env:FIRST"}, "second": {"api_key": "env:SECOND"}}
    bench = make_bench(batchq_accounts=both)
    client = OpenAI(api_key="first-key")

    @bench.task
    def body() -> str:
        return ask(client, "hello")

    assert bench.run(body)
    monkeypatch.setenv("FIRST", "rotated-key")
    bench.ask(body)
    assert accounts_of(bench) == {"first"}


def test_another_key_is_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture, server: Server
) -> None:
    """It may be another team's, and its calls are billed to the account."""
    client = OpenAI(api_key="sk-of-another-team")

    @bench.task
    def body() -> str:
        return ask(client, "hello")

    with caplog.at_level(logging.WARNING, logger="batchq"):
        assert bench.run(body)
    (told,) = caplog.records
    assert "another key than account 'default'" in told.getMessage()
    assert "sk-of-another-team" not in caplog.text


def test_a_key_that_cannot_be_read_here_is_no_other_key(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that only runs bodies needs no key of the account."""
    bench = make_bench(batchq_accounts={"default": {"api_key": "env:NOT_SET_HERE"}})

    @bench.task
    def body() -> str:
        return ask(OpenAI(), "hello")

    with caplog.at_level(logging.WARNING, logger="batchq"):
        bench.ask(body)
    assert caplog.records == []


# Two accounts at one URL


def accounts_of(bench: Bench) -> set[str]:
    return {record.lane.account for record in bench.journal.lanes.all()}


def token_of(who: str, number: int) -> str:
    """A JSON Web Token, as Entra ID gives one each hour."""

    def part(claims: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

    claims = {"iss": "https://sts.example.com/", "oid": who, "iat": number}
    return ".".join((part({"alg": "RS256"}), part(claims), part({"signature": number})))


def test_tokens_are_told_apart_by_who_holds_them(
    make_bench: MakeBench, emulator: Emulator, firm: dict[str, Any]
) -> None:
    numbers = count()
    firm["search"] = lambda: token_of("search", next(numbers))
    firm["support"] = lambda: token_of("support", next(numbers))
    both = {
        name: {
            "kind": "azure",
            "base_url": emulator.root,
            "azure_ad_token": f"call:firm:{name}",
        }
        for name in ("search", "support")
    }
    bench = make_bench(batchq_accounts=both)

    @bench.task
    def body(who: str) -> str:
        client = AzureOpenAI(
            azure_endpoint=emulator.root,
            api_version=API_VERSION,
            azure_ad_token_provider=lambda: token_of(who, next(numbers)),
        )
        return ask(client, "hello")

    bench.ask(body, "support")
    assert accounts_of(bench) == {"support"}
    bench.ask(body, "search")
    assert accounts_of(bench) == {"search", "support"}
    with pytest.raises(UnknownAccount):
        bench.run(body, "somebody else")


TRAITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "organization": ({"organization": "org-two"}, {"organization": "org-two"}),
    "project": ({"project": "proj-two"}, {"project": "proj-two"}),
    "header": (
        {"headers": {"X-Team": "two"}},
        {"default_headers": {"x-team": "two"}},
    ),
}


@pytest.mark.parametrize("key", ["", "one that nobody knows"])
@pytest.mark.parametrize("name", TRAITS)
def test_accounts_with_one_url_are_told_apart_by_what_they_name(
    make_bench: MakeBench, emulator: Emulator, name: str, key: str
) -> None:
    """With the key of both, and with one that was rotated while nobody looked."""
    account, client = TRAITS[name]
    bench = make_bench(batchq_accounts={"one": {}, "two": account})

    @bench.task
    def body() -> str:
        return ask(OpenAI(api_key=key or None, **client), "hello")

    bench.ask(body)
    assert accounts_of(bench) == {"two"}


def test_a_call_that_names_nothing_is_that_of_the_account_that_names_nothing(
    make_bench: MakeBench,
) -> None:
    bench = make_bench(batchq_accounts={"two": {"project": "proj-two"}, "one": {}})

    @bench.task
    def body() -> str:
        return ask(OpenAI(), "hello")

    bench.ask(body)
    assert accounts_of(bench) == {"one"}


def test_what_cannot_be_told_is_said_and_not_guessed(make_bench: MakeBench) -> None:
    both = {"one": {"project": "proj-one"}, "two": {"project": "proj-two"}}
    bench = make_bench(batchq_accounts=both)

    @bench.task
    def body() -> str:
        return ask(OpenAI(), "hello")

    with pytest.raises(UnknownAccount, match="'one', 'two', and nothing says which"):
        bench.run(body)
    assert bench.waiting() == 0


def test_accounts_that_differ_in_limits_only_are_one_owner(make_bench: MakeBench) -> None:
    bench = make_bench(batchq_accounts={"one": {}, "two": {"limits": {"lines": 10}}})

    @bench.task
    def body() -> str:
        return ask(OpenAI(), "hello")

    bench.ask(body)
    assert accounts_of(bench) == {"one"}
