"""Behind a gateway nothing worked: it wants a header, a certificate or a proxy that only calls had.

An account carries what its gateway wants, with files and batches too, and then a call may carry
exactly the same.
"""

from __future__ import annotations

import base64
import logging
import sys
from collections.abc import Callable, Generator, Iterator
from email.message import Message
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import openai
import pytest
from openai import OpenAI

from batchq import ConfigurationError, NotBatchable
from batchq.errors import ProviderUnauthorized, ProviderUnclear
from batchq.provider.client import provider_for
from batchq.settings.accounts import read_accounts
from batchq.settings.config import settings
from tests.capture.bench import Bench, ask
from tests.certificates import Certificates, make_certificates
from tests.gateway import Gateway
from tests.harness import Emulator, Server

SDKS: Any = import_module("httpx2" if find_spec("httpx2") else "httpx")
MakeBench = Callable[..., Bench]
KEY = "s3cret-of-the-gateway"


@pytest.fixture
def gateway(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """One that wants a key of its own beside the provider's."""
    monkeypatch.setenv("GATEWAY_KEY", KEY)

    def demands(headers: Message) -> bool:
        return headers["x-gateway-key"] == KEY

    with Gateway(emulator.port, demands=demands) as gateway:
        yield gateway


@pytest.fixture
def firm(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the module `firm` holds, which settings name functions of."""
    module = ModuleType("firm")
    monkeypatch.setitem(sys.modules, "firm", module)
    return vars(module)


_numbers = count()


def behind(make_bench: MakeBench, url: str, **account: Any) -> Bench:
    return make_bench(batchq_accounts={"default": {"base_url": url, **account}})


def asking(bench: Bench, client: OpenAI, **options: Any) -> Any:
    @bench.task(name=f"asking {next(_numbers)}")
    def body() -> str:
        return ask(client, "hello", **options)

    return body


# Headers

CARRIED: dict[str, Callable[[str], Any]] = {
    "by default": lambda url: OpenAI(base_url=url, default_headers={"X-Gateway-Key": KEY}),
    "by its HTTP client": lambda url: OpenAI(
        base_url=url, http_client=SDKS.Client(headers={"x-gateway-key": KEY})
    ),
    "not at all": lambda url: OpenAI(base_url=url),
}


@pytest.mark.parametrize("name", CARRIED)
def test_a_header_that_the_gateway_wants(
    make_bench: MakeBench, gateway: Gateway, name: str
) -> None:
    """With each request: the file's, the batch's, the answers'. No call of the body is needed."""
    bench = behind(make_bench, gateway.url, headers={"x-gateway-key": "env:GATEWAY_KEY"})
    assert bench.run(asking(bench, CARRIED[name](gateway.url)))
    assert gateway.refused == []
    paths = {asked.split("/")[2] for asked in gateway.seen}
    assert paths == {"files", "batches"}
    assert bench.emulator.ledger()["live_calls"] == 0


def test_a_header_of_one_call(make_bench: MakeBench, gateway: Gateway) -> None:
    headers = {"x-gateway-key": "env:GATEWAY_KEY", "x-team": "blue"}
    bench = behind(make_bench, gateway.url, headers=headers)
    client = OpenAI(base_url=gateway.url)
    extra = {"X-Team": "blue", "x-gateway-key": KEY}
    assert bench.run(asking(bench, client, extra_headers=extra))


@pytest.mark.parametrize("extra", [{"x-team": "red"}, {"x-team": "blue", "x-other": "1"}])
def test_a_header_that_the_account_does_not_carry_so(
    make_bench: MakeBench, gateway: Gateway, extra: dict[str, str]
) -> None:
    """Another tenant's call does not go under this one's name."""
    bench = behind(make_bench, gateway.url, headers={"x-team": "blue"})
    wrong = "x-other" if "x-other" in extra else "x-team"
    with pytest.raises(NotBatchable, match=f"adds {wrong} .*give them to its account"):
        bench.run(asking(bench, OpenAI(base_url=gateway.url), extra_headers=extra))


def test_a_word_before_the_secret(
    make_bench: MakeBench, emulator: Emulator, tmp_path: Path
) -> None:
    """As `Helicone-Auth: Bearer sk-...` has."""
    secret = tmp_path / "secret"
    secret.write_text(f"{KEY}\n")

    def demands(headers: Message) -> bool:
        return headers["helicone-auth"] == f"Bearer {KEY}"

    with Gateway(emulator.port, demands=demands) as gateway:
        bench = behind(make_bench, gateway.url, headers={"Helicone-Auth": f"Bearer file:{secret}"})
        client = OpenAI(base_url=gateway.url, default_headers={"Helicone-Auth": f"Bearer {KEY}"})
        assert bench.run(asking(bench, client))
        assert gateway.refused == []


def test_a_header_that_cannot_be_read_is_named(make_bench: MakeBench, gateway: Gateway) -> None:
    bench = behind(make_bench, gateway.url, headers={"x-gateway-key": "env:NOT_SET"})
    provider = provider_for(settings(bench.app), "default")
    with pytest.raises(ConfigurationError, match=r"\['default'\].headers\['x-gateway-key'\]"):
        provider.look()


@pytest.mark.skipif(not find_spec("httpx2"), reason="openai 2 does not read the variable")
def test_headers_of_the_environment_are_the_accounts_too(
    make_bench: MakeBench, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"x-gateway-key: {KEY}")
    bench = behind(make_bench, gateway.url)
    assert bench.run(asking(bench, OpenAI(base_url=gateway.url)))
    assert gateway.refused == []


@pytest.mark.parametrize("given", ["env:GATEWAY_KEY", KEY])
def test_a_gateways_key_is_nowhere(
    make_bench: MakeBench,
    gateway: Gateway,
    server: Server,
    given: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = behind(make_bench, gateway.url, headers={"x-gateway-key": given})
    client = OpenAI(base_url=gateway.url, default_headers={"x-gateway-key": KEY})
    with caplog.at_level(logging.DEBUG, logger="batchq"):
        assert bench.run(asking(bench, client))
    config = settings(bench.app)
    shown = f"{config!r} {config.model_dump()} {config.accounts!r} {config.model_dump_json()}"
    assert KEY not in shown + caplog.text
    written = [file.read_bytes() for file in Path(server.directory).rglob("*.aof")]
    assert written
    assert not any(KEY.encode() in each for each in written)


# A layer of the client's own


class Signing(SDKS.Auth):  # type: ignore[misc]
    """Signs each request anew, as gateways of firms want it."""

    def auth_flow(self, request: Any) -> Generator[Any, Any]:
        request.headers["x-signature"] = f"of {request.method} {request.url.path}"
        yield request


def signed(headers: Message) -> bool:
    return (headers["x-signature"] or "").startswith("of ")


def test_an_auth_that_the_account_has_too(
    make_bench: MakeBench, emulator: Emulator, firm: dict[str, Any]
) -> None:
    firm["http"] = lambda: SDKS.Client(auth=Signing(), headers={"x-team": "blue"})
    with Gateway(emulator.port, demands=signed) as gateway:
        bench = behind(make_bench, gateway.url, http_client="call:firm:http")
        client = OpenAI(base_url=gateway.url, http_client=firm["http"]())
        assert bench.run(asking(bench, client))
        assert gateway.refused == []


def test_an_auth_in_place_of_a_key(
    make_bench: MakeBench, emulator: Emulator, firm: dict[str, Any]
) -> None:
    """Its bearer is nobody's key: the URL chooses."""
    expected = f"Basic {base64.b64encode(b'team:pass').decode()}"

    def demands(headers: Message) -> bool:
        return headers["authorization"] == expected

    firm["http"] = lambda: SDKS.Client(auth=SDKS.BasicAuth("team", "pass"))
    with Gateway(emulator.port, demands=demands) as gateway:
        bench = behind(make_bench, gateway.url, http_client="call:firm:http")
        client = OpenAI(base_url=gateway.url, http_client=firm["http"]())
        # The emulator wants a bearer of its own, so only what is captured is seen here.
        bench.ask(asking(bench, client))
        assert [lane.lane.account for lane in bench.journal.lanes.all()] == ["default"]
        with pytest.raises(ProviderUnauthorized):
            provider_for(settings(bench.app), "default").look()
        assert gateway.seen == ["GET /v1/batches"]


def test_a_client_of_a_function_carries_what_its_calls_do(
    make_bench: MakeBench, gateway: Gateway, firm: dict[str, Any]
) -> None:
    firm["client"] = lambda: OpenAI(base_url=gateway.url, default_headers={"x-gateway-key": KEY})
    bench = behind(make_bench, gateway.url, client="call:firm:client")
    assert bench.run(asking(bench, firm["client"]()))
    assert gateway.refused == []
    with pytest.raises(NotBatchable, match="adds x-team "):
        bench.run(asking(bench, firm["client"](), extra_headers={"x-team": "red"}))


def test_a_client_that_raises_what_it_likes_is_tried_again(
    make_bench: MakeBench, emulator: Emulator, firm: dict[str, Any]
) -> None:
    """Its vault is away: no step of ours falls over it, and its words go nowhere."""

    def away() -> str:
        raise LookupError(KEY)

    firm["client"] = lambda: OpenAI(base_url=emulator.url, api_key=away)
    bench = behind(make_bench, emulator.url, client="call:firm:client")
    with pytest.raises(ProviderUnclear, match="LookupError") as unclear:
        provider_for(settings(bench.app), "default").look()
    assert KEY not in str(unclear.value)


def test_a_function_that_gives_something_else_is_told(
    make_bench: MakeBench, emulator: Emulator, firm: dict[str, Any]
) -> None:
    firm["async_client"] = openai.AsyncOpenAI
    bench = behind(make_bench, emulator.url, client="call:firm:async_client")
    with pytest.raises(ConfigurationError, match="it gives AsyncOpenAI, and accepted is"):
        provider_for(settings(bench.app), "default").look()


# Certificates and proxies


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def mutual(emulator: Emulator, certificates: Certificates) -> Iterator[Gateway]:
    """One that speaks TLS, of an authority of its own, and wants a certificate as well."""
    with Gateway(emulator.port, tls=certificates.of_server()) as gateway:
        yield gateway


@pytest.mark.parametrize("files", ["one", "two"])
def test_mutual_tls(
    make_bench: MakeBench, mutual: Gateway, certificates: Certificates, files: str
) -> None:
    both = (certificates.client_certificate, certificates.client_key)
    given = certificates.client if files == "one" else both
    bench = behind(make_bench, mutual.url, ca=certificates.ca, certificate=given)
    assert bench.run(asking(bench, OpenAI(base_url=mutual.url)))
    assert mutual.refused == []
    assert bench.emulator.ledger()["lines_known"] == 1


@pytest.mark.parametrize("left_out", ["ca", "certificate"])
def test_without_its_certificates_nothing_gets_there(
    make_bench: MakeBench, mutual: Gateway, certificates: Certificates, left_out: str
) -> None:
    given = {"ca": certificates.ca, "certificate": certificates.client}
    del given[left_out]
    bench = behind(make_bench, mutual.url, **given)
    with pytest.raises(ProviderUnclear):
        provider_for(settings(bench.app), "default").look()
    assert mutual.seen == []


@pytest.mark.parametrize("field", ["ca", "certificate"])
def test_a_certificate_that_is_none_is_named(
    make_bench: MakeBench, mutual: Gateway, certificates: Certificates, tmp_path: Path, field: str
) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing of the kind")
    given = {"ca": certificates.ca, "certificate": certificates.client, field: str(wrong)}
    bench = behind(make_bench, mutual.url, **given)
    with pytest.raises(ConfigurationError, match=rf"\['default'\]\.{field} = .*no certificate"):
        provider_for(settings(bench.app), "default").look()


def test_a_certificate_that_is_renewed_is_read_again(
    make_bench: MakeBench, mutual: Gateway, certificates: Certificates, tmp_path: Path
) -> None:
    current = tmp_path / "current.pem"
    current.write_text("nothing yet")
    bench = behind(make_bench, mutual.url, ca=certificates.ca, certificate=str(current))
    provider = provider_for(settings(bench.app), "default")
    with pytest.raises(ConfigurationError):
        provider.look()
    current.write_text(Path(certificates.client).read_text())
    provider.look()


def test_a_proxy_with_a_password(
    make_bench: MakeBench, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the proxy knows where the provider is."""
    expected = f"Basic {base64.b64encode(b'team:pass').decode()}"

    def demands(headers: Message) -> bool:
        return headers["proxy-authorization"] == expected

    url = "http://llm.firm.invalid/v1"
    with Gateway(emulator.port, demands=demands) as proxy:
        monkeypatch.setenv("PROXY_URL", proxy.root.replace("//", "//team:pass@"))
        bench = behind(make_bench, url, proxy="env:PROXY_URL")
        assert bench.run(asking(bench, OpenAI(base_url=url)))
        assert proxy.refused == []
        assert proxy.seen
    with pytest.raises(ProviderUnclear) as unclear:
        provider_for(settings(bench.app), "default").look()
    assert "pass@" not in str(unclear.value)


# Settings that cannot be

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "two ways": ({"api_key": "env:A", "client": "call:a:b"}, "client: it cannot stand beside"),
    "two clients": ({"client": "call:a:b", "http_client": "call:a:b"}, "http_client: it cannot"),
    "a proxy beside": ({"http_client": "call:a:b", "proxy": "http://p:1"}, "proxy: it cannot"),
    "a ca beside": ({"client": "call:a:b", "ca": "/ca.pem"}, "ca: it cannot stand"),
    "a token elsewhere": ({"azure_ad_token": "call:a:b"}, 'it is for kind "azure"'),
    "a token": ({"kind": "azure", "base_url": "https://a", "azure_ad_token": KEY}, "the token"),
    "a client that is none": ({"client": "env:A"}, "a function without arguments"),
    "headers": ({"headers": [KEY]}, "headers: accepted is a dict of texts"),
    "a header's value": ({"headers": {"x-key": f"{KEY}\n"}}, "headers: accepted is a dict"),
    "a password": ({"proxy": f"http://team:{KEY}@proxy:1"}, "proxy: accepted is http"),
    "certificates": ({"certificate": ("a", "b", "c")}, "certificate: accepted is the path"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_named_and_not_repeated(name: str) -> None:
    account, words = WRONG[name]
    with pytest.raises(ConfigurationError) as refused:
        read_accounts({"it": account})
    assert "accounts['it']." in str(refused.value)
    assert words in str(refused.value)
    assert KEY not in str(refused.value)
