"""The journal connects as Celery does, with Celery's own settings: TLS, users, lists, timeouts.

A hosted Redis gives an app one URL and a certificate that nobody vouches for, and its manual says
what to set in Celery. The journal took the URL alone, and could not connect where Celery did.
"""

from __future__ import annotations

import ssl
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from redis.credentials import UsernamePasswordCredentialProvider

from batchq.errors import ConfigurationError
from batchq.journal import Journal, journal_of
from batchq.settings.config import settings
from tests.apps.base import make_app
from tests.certificates import Certificates, make_certificates
from tests.commands import Commands
from tests.harness import ReservedPort, Server
from tests.proxy import Proxy

NOBODY = {"broker_url": "memory://", "result_backend": None}
PASSWORD = "p@ss:w/rd;?#%"
QUOTED = "p%40ss%3Aw%2Frd%3B%3F%23%25"
Conf = dict[str, Any]


def journal(**conf: Any) -> Journal:
    return journal_of(make_app("ways", **NOBODY | conf))


def connects(**conf: Any) -> bool:
    made = journal(**conf)
    try:
        return made.clock.now() > 0
    finally:
        made.store.redis.close()


def parameters(**conf: Any) -> Conf:
    """What the journal's connections are made with."""
    known: Conf = journal(**conf).store.redis.connection_pool.connection_kwargs
    return known


def refused(**conf: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings(make_app("ways", **NOBODY | conf))
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


# TLS


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return make_certificates(tmp_path)


@pytest.fixture
def tls(server: Server, certificates: Certificates) -> Iterator[str]:
    """TLS in front of the server, for the binary that tests run has none of its own."""
    with Proxy(server.port.number, tls=certificates.of_server(asks_clients=False)) as front:
        yield f"rediss://127.0.0.1:{front.port}"


@pytest.fixture
def tls_asks(server: Server, certificates: Certificates) -> Iterator[str]:
    """As `tls`, and takes nobody without a certificate."""
    context = certificates.of_server()
    with Proxy(server.port.number, tls=context) as front:
        yield f"rediss://127.0.0.1:{front.port}"


@pytest.mark.parametrize("how", [ssl.CERT_NONE, "none", "CERT_NONE"])
@pytest.mark.parametrize(
    ("where", "setting"),
    [("result_backend", "redis_backend_use_ssl"), ("broker_url", "broker_use_ssl")],
)
def test_the_tls_of_what_it_follows(tls: str, where: str, setting: str, how: object) -> None:
    assert connects(**{where: f"{tls}/0", setting: {"ssl_cert_reqs": how}})


def test_what_the_broker_s_settings_say_holds_for_a_plain_scheme_too(tls: str) -> None:
    """With kombu TLS comes from `broker_use_ssl`, whatever the scheme."""
    plain = tls.replace("rediss", "redis")
    assert connects(broker_url=plain, broker_use_ssl={"ssl_cert_reqs": ssl.CERT_NONE})


@pytest.mark.parametrize("where", ["result_backend", "broker_url", "batchq_redis_url"])
@pytest.mark.parametrize("how", ["none", "CERT_NONE"])
def test_the_tls_of_a_url(tls: str, where: str, how: str) -> None:
    assert connects(**{where: f"{tls}/0?ssl_cert_reqs={how}"})


def test_a_url_of_its_own_on_the_same_server_takes_its_settings(tls: str) -> None:
    """Another database of the one hosted Redis that there is."""
    own = journal(
        result_backend=f"{tls}/0",
        redis_backend_use_ssl={"ssl_cert_reqs": ssl.CERT_NONE},
        batchq_redis_url=f"{tls}/3",
    )
    assert own.clock.now()
    assert own.store.redis.connection_pool.connection_kwargs["db"] == 3


def test_what_a_url_says_goes_before_the_settings(tls: str) -> None:
    strict = journal(
        result_backend=f"{tls}/0",
        redis_backend_use_ssl={"ssl_cert_reqs": ssl.CERT_NONE},
        batchq_redis_url=f"{tls}/0?ssl_cert_reqs=required",
        batchq_redis_options={"socket_timeout": 1},
    )
    with pytest.raises(redis.ConnectionError, match=r"(?i)certificate"):
        strict.store.redis.connection_pool.make_connection().connect_check_health(
            retry_socket_connect=False
        )


@pytest.mark.parametrize("where", ["result_backend", "broker_url", "batchq_redis_url"])
def test_certificates_on_both_sides(tls_asks: str, certificates: Certificates, where: str) -> None:
    files = {
        "ssl_cert_reqs": "required",
        "ssl_ca_certs": certificates.ca,
        "ssl_certfile": certificates.client_certificate,
        "ssl_keyfile": certificates.client_key,
    }
    setting = {
        "result_backend": "redis_backend_use_ssl",
        "broker_url": "broker_use_ssl",
        "batchq_redis_url": "batchq_redis_options",
    }[where]
    assert connects(**{where: f"{tls_asks}/0", setting: files})


def test_a_cluster_or_sentinels_of_its_own_take_tls_by_options() -> None:
    for url in ("redis+cluster://h:7000", "sentinel://h:26379"):
        options = {"ssl_cert_reqs": "none", "master_name": "mymaster"}
        link = settings(
            make_app("ways", **NOBODY, batchq_redis_url=url, batchq_redis_options=options)
        ).link
        assert link.is_tls
        assert not link.is_verified


# Users


@pytest.fixture
def user(server: Server) -> Iterator[str]:
    acl: Any = server.client
    acl.execute_command("ACL", "SETUSER", "b@tchq", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    acl.execute_command("ACL", "SETUSER", "default", "off")
    yield f"127.0.0.1:{server.port.number}"
    with redis.Redis(port=server.port.number, username="b@tchq", password=PASSWORD) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "on")
    acl.connection_pool.disconnect()
    acl.execute_command("ACL", "DELUSER", "b@tchq")


def test_users_and_their_passwords(user: str) -> None:
    in_url = f"redis://b%40tchq:{QUOTED}@{user}/0"
    for where in ("result_backend", "broker_url", "batchq_redis_url"):
        assert connects(**{where: in_url})
    assert connects(
        result_backend=f"redis://{user}/0", redis_username="b@tchq", redis_password=PASSWORD
    )
    said = {"username": "b@tchq", "password": PASSWORD}
    assert connects(batchq_redis_url=f"redis://{user}/0", batchq_redis_options=said)
    assert connects(
        result_backend=f"redis://{user}/0",
        redis_backend_credential_provider=UsernamePasswordCredentialProvider("b@tchq", PASSWORD),
    )


def test_options_are_not_shown() -> None:
    read = settings(
        make_app(
            "ways",
            **NOBODY,
            batchq_redis_url=f"redis://me:{QUOTED}@h;redis://me:{QUOTED}@i",
            batchq_redis_options={"password": PASSWORD},
        )
    )
    shown = f"{read!r} {read} {read.model_dump()} {read.link!r} {read.shown_redis_url}"
    assert PASSWORD not in shown
    assert QUOTED not in shown
    assert read.shown_redis_url == "redis://me:***@h;redis://me:***@i"


# Timeouts and the rest


OURS = {"socket_timeout": 10, "socket_connect_timeout": 5, "health_check_interval": 15}


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"batchq_redis_url": "redis://h"}, OURS),
        ({"result_backend": "redis://h"}, OURS),
        ({"broker_url": "redis://h"}, OURS),
        (
            {"result_backend": "redis://h", "redis_socket_timeout": 33},
            OURS | {"socket_timeout": 33},
        ),
        (
            {
                "result_backend": "redis://h",
                "redis_backend_health_check_interval": 7,
                "redis_socket_connect_timeout": 3,
                "redis_client_name": "shop",
            },
            {"health_check_interval": 7, "socket_connect_timeout": 3, "client_name": "shop"},
        ),
        (
            {
                "broker_url": "redis://h/4",
                "broker_transport_options": {
                    "socket_timeout": 33,
                    "health_check_interval": 7,
                    "socket_keepalive_options": {1: 2},
                    "global_keyprefix": "theirs",
                    "visibility_timeout": 5,
                },
            },
            {"socket_timeout": 33, "health_check_interval": 7, "db": 4},
        ),
        ({"result_backend": "redis", "redis_host": "there", "redis_port": 7}, {"host": "there"}),
        (
            {"batchq_redis_url": "redis://h", "batchq_redis_options": {"socket_timeout": 3}},
            OURS | {"socket_timeout": 3},
        ),
        # Another server than any of Celery's has nothing of theirs.
        (
            {
                "result_backend": "redis://other",
                "redis_socket_timeout": 33,
                "batchq_redis_url": "redis://h",
            },
            OURS,
        ),
    ],
)
def test_what_celery_is_told_of_its_connection(conf: Conf, expected: Conf) -> None:
    known = parameters(**conf)
    if "host" in expected:
        (host,) = settings(make_app("ways", **NOBODY | conf)).link.hosts
        known = {"host": host.host}
    assert {name: known.get(name) for name in expected} == expected


def test_a_thread_waits_for_a_connection_where_only_some_are_allowed(redis_url: str) -> None:
    """Celery's own pool raises "Too many connections" then."""
    with redis.Redis.from_url(redis_url) as client:
        others = {one["id"] for one in cast("Any", client.client_list())}
    shared = journal(result_backend=redis_url, redis_max_connections=2)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(shared.clock.now())) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 12
    with redis.Redis.from_url(redis_url) as client:
        ours = {one["id"] for one in cast("Any", client.client_list())} - others
        assert len(ours) <= 3, "two of the journal, and the one that looks"


# Several servers


def test_of_a_list_the_first_that_answers_is_used(server: Server) -> None:
    dead = ReservedPort()
    listed = f"redis://127.0.0.1:{dead.number}/0;redis://127.0.0.1:{server.port.number}/5"
    dead.release()
    for where in ("broker_url", "batchq_redis_url"):
        made = journal(**{where: listed})
        assert made.clock.now()
        made.store.redis.set("here", 1)
        with redis.Redis(port=server.port.number, db=5) as fifth:
            assert fifth.delete("here") == 1


def test_a_replica_of_a_list_is_passed_over(server: Server, tmp_path: Path) -> None:
    """It answers, but a journal cannot be kept there: its primary is further on in the list."""
    options = ("--replicaof", f"127.0.0.1 {server.port.number}")
    replica = Server(ReservedPort(), tmp_path, *options)
    try:
        made = journal(broker_url=[replica.url, server.url])
        assert made.store.facts().info["role"] == "master"
    finally:
        replica.client.close()
        replica.stop()


def test_each_server_of_a_list_has_a_login_of_its_own() -> None:
    urls = f"redis://me:{QUOTED}@a/1;redis://b;redis://:other@c/2"
    for conf in ({"broker_url": urls}, {"batchq_redis_url": urls}):
        hosts = settings(make_app("ways", **NOBODY | conf)).link.hosts
        assert [one.login for one in hosts][1:] == [
            {"username": None, "password": None, "db": 0},
            {"username": None, "password": "other", "db": 2},
        ], conf
        assert hosts[0].login == {"username": "me", "password": PASSWORD, "db": 1}


def test_a_server_that_is_no_cluster_says_so(server: Server) -> None:
    made = journal(batchq_redis_url=f"redis+cluster://127.0.0.1:{server.port.number}")
    with pytest.raises(ConfigurationError, match=r"is not part of a Redis Cluster: write redis://"):
        made.clock.now()


# Words


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"result_backend": "rediss://h"}, "result_backend: Celery cannot use it: A rediss://"),
        (
            {"result_backend": "redis://h", "redis_backend_use_ssl": {"ssl_cert_reqs": "none"}},
            "result_backend: Celery cannot use it: SSL connection parameters",
        ),
        ({"broker_url": "rediss://h", "broker_use_ssl": True}, "broker_use_ssl: for a Redis"),
        (
            {"broker_url": "rediss://h", "broker_use_ssl": {"ca_certs": "/x"}},
            "broker_url: a connection to Redis does not take",
        ),
        (
            {"broker_url": "rediss://h", "broker_use_ssl": {"ssl_ca_certs": "/no/such.pem"}},
            "broker_url: ssl_ca_certs names /no/such.pem, and there is no such file",
        ),
        (
            {"broker_url": "sentinel://h:26379"},
            "broker_transport_options: Sentinel needs the name of its primary",
        ),
        (
            {"result_backend": "sentinel://h:26379"},
            "result_backend_transport_options: Sentinel needs the name of its primary",
        ),
        (
            {"batchq_redis_url": f"sentinel://:{QUOTED}@h:26379"},
            "batchq_redis_options: Sentinel needs the name of its primary",
        ),
        ({"batchq_redis_url": f"redis://:{QUOTED}@h;amqp://i"}, "batchq_redis_url: accepted is"),
        ({"batchq_redis_url": "redis://h;sentinel://i"}, "batchq_redis_url: accepted is"),
        ({"result_backend": f"redis://:{PASSWORD}@h;redis://i"}, "result_backend: accepted is"),
        (
            {"batchq_redis_url": "redis://h", "batchq_redis_options": {"socket_timout": PASSWORD}},
            "batchq_redis_options['socket_timout']: a connection to Redis has no option of that",
        ),
        (
            {"batchq_redis_url": "redis://h", "batchq_redis_options": PASSWORD},
            "batchq_redis_options: accepted is a dict",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_mends_it(conf: Conf, said: str) -> None:
    assert refused(**conf).startswith(said)


def checked(*, code: int, **conf: Any) -> list[dict[str, Any]]:
    """What `check` says of Redis."""
    commands = Commands(make_app("ways", **NOBODY | conf))
    told = commands.json("check", "--skip", "workers", "--skip", "provider", code=code)
    return [one for one in told["checks"] if one["about"] == "redis"]


def test_check_says_what_mends_the_way(tls: str, user: str, certificates: Certificates) -> None:
    nobody = "sentinel://127.0.0.1:1"
    unverified, wrong, away = (
        {"batchq_redis_url": f"{tls}/0"},
        {"batchq_redis_url": f"redis://b%40tchq:wrong@{user}/0"},
        {
            "batchq_redis_url": nobody,
            "batchq_redis_options": {"master_name": "m"},
        },
    )
    for conf, do in (
        (unverified, "name its authority in ssl_ca_certs"),
        (wrong, "quote the password"),
        (away, "set master_name as the sentinels have it"),
    ):
        (told,) = checked(code=3, **conf)
        assert told["level"] == "problem"
        assert told["do"].startswith(do), told


def test_check_names_what_works_and_is_not_safe(tls: str, server: Server) -> None:
    told = checked(code=1, batchq_redis_url=f"{tls}/0?ssl_cert_reqs=none")
    assert "the certificate of Redis's server is not looked at" in str(told)
    told = checked(code=1, broker_url=f"{server.url};{server.url}", result_backend=None)
    assert "two journals" in str(told)
