"""What common/seams and message.py use of Celery and kombu, held against the installed release."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
from typing import Any

import pytest
from celery import Celery, Task, signals, states
from celery.backends.redis import RedisBackend
from celery.exceptions import Ignore
from celery.result import AsyncResult, GroupResult
from celery.states import READY_STATES
from kombu import Producer, Queue
from kombu.exceptions import ContentDisallowed
from kombu.serialization import dumps
from kombu.transport.native_delayed_delivery import calculate_routing_key

from batchq.common.seams import connections, messages, publishing, queues, results, revokes, tasks
from batchq.common.seams.states import redis_state
from tests.harness import ROOT, Server


def test_the_stack_of_running_tasks_is_empty_outside_a_task() -> None:
    assert tasks.task_stack() == []


def test_a_running_task_is_on_top_of_the_stack() -> None:
    app = Celery("seams", set_as_current=False)
    seen: list[str] = []

    @app.task(name="seams.look", shared=False)
    def look() -> None:
        seen.extend(task.name for task in tasks.task_stack())

    look.apply()
    assert seen == ["seams.look"]


def test_another_thread_can_run_what_this_one_has_begun() -> None:
    app = Celery("seams", set_as_current=False)
    ids: list[Any] = []

    @app.task(name="seams.handed_on", shared=False, bind=True)
    def handed_on(self: Task[..., None]) -> None:
        request = tasks.current_request(self)

        def elsewhere() -> None:
            with tasks.as_current_task(self, request):
                ids.extend((self.request.id, *tasks.task_stack()))
            ids.extend((self.request.id, *tasks.task_stack()))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    handed_on.apply(task_id="an id")
    assert ids == ["an id", app.tasks["seams.handed_on"], None]


@pytest.mark.parametrize("family", ["httpx", "httpx2"])
def test_a_transport_is_made_anew_without_its_connections(family: str) -> None:
    module = pytest.importorskip(family)
    transport = module.AsyncHTTPTransport(http2=False, retries=3)
    transport._pool._connections.append("a connection")
    fresh = connections.without_connections(transport)
    assert type(fresh) is type(transport)
    assert fresh._pool.connections == []
    assert fresh._pool._ssl_context is transport._pool._ssl_context
    assert fresh._pool._retries == 3
    assert transport._pool.connections == ["a connection"]


def test_an_app_is_among_the_active_ones_until_it_is_closed() -> None:
    app = Celery("seams", set_as_current=False)
    assert app in tasks.active_apps()
    app.close()
    assert app not in tasks.active_apps()


def test_tasks_are_made_and_listed_without_finalizing_the_app() -> None:
    app = Celery("seams", set_as_current=False, autofinalize=True)
    assert "celery.chord" not in tasks.registered_tasks(app)
    assert not vars(app)["finalized"]


def test_a_function_becomes_a_task_of_its_app() -> None:
    app = Celery("seams", set_as_current=False)
    app.finalize()

    def fresh() -> int:
        return 1

    task: Task[[], int] = tasks.task_from_function(app, fresh)
    assert app.tasks[task.name].run() == 1


def test_kombu_names_the_serializer_of_a_content_type() -> None:
    assert messages.serializer_of("application/json") == "json"
    assert messages.serializer_of("application/x-python-serialize") == "pickle"
    assert messages.serializer_of(None) is None


def test_a_queue_is_consumed_unless_the_worker_was_told_its_queues() -> None:
    free, told = (Celery("seams", set_as_current=False) for _ in range(2))
    told.amqp.queues.select(["celery"])
    for app in (free, told):
        queues.add_queue(app, "more")
        queues.add_queue(app, "more")
    assert set(free.amqp.queues.consume_from) == {"celery", "more"}
    assert set(told.amqp.queues.consume_from) == {"celery"}


def test_a_queue_is_added_to_an_app_that_makes_none_by_itself() -> None:
    app = Celery("seams", set_as_current=False)
    app.conf.task_create_missing_queues = False
    queues.add_queue(app, "more")
    assert app.amqp.router.route({"queue": "more"}, "a.task")["queue"].name == "more"


def test_quorum_queues_are_told_from_others() -> None:
    """There, Celery makes whole seconds of a countdown, and an error of none."""
    for url, arguments, told in (
        ("amqp://", {"x-queue-type": "quorum"}, True),
        ("amqp://", {}, False),
        ("memory://", {"x-queue-type": "quorum"}, False),
    ):
        app = Celery("seams", broker=url, set_as_current=False)
        app.conf.task_queues = [Queue("celery", queue_arguments=arguments)]
        assert queues.delays_whole_seconds(app) is told
        app.close()
    with pytest.raises(ValueError, match="countdown"):
        calculate_routing_key(int(0.9), "a.key")


def test_the_tasks_that_an_app_has_yet_to_make_are_listed() -> None:
    app = Celery("seams", set_as_current=False)

    @app.task(shared=False)
    def later() -> None: ...

    assert [type(task).__name__ for task in tasks.pending_tasks(app)] == ["PromiseProxy"]
    app.finalize()
    assert tasks.pending_tasks(app) == []


def test_a_call_may_say_that_its_result_is_ignored() -> None:
    app = Celery("seams", set_as_current=False)

    @app.task(name="seams.kept", shared=False, bind=True)
    def kept(self: Task[..., bool]) -> bool:
        return results.ignores_result(self)

    assert kept.apply().get() is False
    assert kept.apply(ignore_result=True).result is True


def test_an_ignored_task_has_no_final_state() -> None:
    """A parked execution ends in IGNORED; were that a final state, chords would count it."""
    assert issubclass(Ignore, Exception)
    assert "IGNORED" not in READY_STATES


def test_an_end_that_is_no_error_is_described_by_its_last_frame() -> None:
    """In a fresh Python, and with an `Ignore` of somebody else beside it, which stays whole."""
    code = """
from celery import Celery
from celery.app.trace import build_tracer
from celery.backends.redis import RedisBackend
from celery.exceptions import Ignore
from batchq.common.seams.ends import describe_shortly

class Ours(Ignore): pass

app = Celery("seams", set_as_current=False, backend="disabled")

def frames(kind):
    @app.task(name=kind.__name__, shared=False)
    def ended(): raise_it(kind)
    described = build_tracer(kind.__name__, ended, app=app)("id", (), {}, {"id": "id"}).retval
    return described.traceback.count("File "), type(described.exception.exc)

def raise_it(kind): raise kind

before = frames(Ours)[0]
describe_shortly(Ours)
describe_shortly(Ours)
assert frames(Ours) == (1, Ours) and before > 1, (frames(Ours), before)
assert frames(Ignore) == (before, Ignore), frames(Ignore)

import logging
from celery.app import trace
worked_out, logged = [], trace.TraceInfo._log_error

def _log_error(self, *more):
    worked_out.append(type(self.retval))
    logged(self, *more)

trace.TraceInfo._log_error = _log_error
for level, kinds in ((logging.WARNING, [Ignore]), (logging.INFO, [Ours, Ignore])):
    trace.logger.setLevel(level)
    worked_out.clear()
    for kind in (Ours, Ignore): frames(kind)
    assert worked_out == kinds, (level, worked_out)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_state_is_what_the_backend_of_redis_would_write() -> None:
    """tests/capture/test_state.py compares the two; here is what is not told at all."""
    app = Celery("seams", set_as_current=False, backend="redis://127.0.0.1:9/4")

    class Own(RedisBackend):
        """A backend of an app's own may write what it likes."""

    @app.task(name="seams.states", shared=False, bind=True)
    def told(self: Task[..., object]) -> object:
        return redis_state(self, "WAITS", {"for": 1})

    backend: Any = app.backend
    state: Any = told.apply(task_id="an id").get()
    assert (state.key, state.seconds) == ("celery-task-meta-an id", 24 * 60 * 60)
    assert backend.decode(state.text)["result"] == {"for": 1}
    assert state.parameters["db"] == 4
    for instead in (Own(app=app, url="redis://"), RedisBackend(app=app, serializer="pickle")):
        told.backend = instead
        assert told.apply().get() is None


def test_a_request_lives_from_prerun_until_after_postrun() -> None:
    """capture.py keeps its delivery on the request and settles it in task_postrun."""
    app = Celery("seams", set_as_current=False)
    found: list[object] = []

    @app.task(name="seams.marked", shared=False, bind=True)
    def marked(self: Task[..., None]) -> None:
        self.request.__dict__["batchq_mark"] = "mine"

    def after(task: Task[..., None], **_: object) -> None:
        found.append(task.request.__dict__.get("batchq_mark"))

    signals.task_postrun.connect(after, sender=app.tasks["seams.marked"])
    try:
        marked.apply()
    finally:
        signals.task_postrun.disconnect(after, sender=app.tasks["seams.marked"])
    assert found == ["mine"]


def test_a_worker_asks_before_it_revokes() -> None:
    """In a fresh Python: the command of this one stays Celery's."""
    code = """
from types import SimpleNamespace
from celery import Celery
from celery.worker import control, state
from batchq.common.seams import revokes
app = Celery("seams", backend="cache+memory://", set_as_current=False)
asked, stamps = [], []
def by_id(app, task_ids, hostname):
    asked.append((sorted(task_ids), hostname))
    return {"ours"}
for _ in range(2):
    revokes.intercept_revokes(by_id, lambda app, found, hostname: stamps.append(found))
panel = SimpleNamespace(app=app, hostname="w@h", consumer=SimpleNamespace(pool=None))
commands = control.Panel.data
reply = commands["revoke"](panel, ["ours", "theirs"])
assert "ours" in reply["ok"] and "theirs" in reply["ok"], reply
commands["terminate"](panel, "TERM", "ours")
assert asked == [(["ours", "theirs"], "w@h"), (["ours"], "w@h")], asked
assert list(state.revoked) == ["theirs"], list(state.revoked)
assert app.AsyncResult("ours").state == "PENDING"
commands["revoke_by_stamped_headers"](panel, {"a": "1", "b": ["2", "3"]})
commands["revoke_by_stamped_headers"](panel, ["a=1"])
assert stamps == [{"a": ["1"], "b": ["2", "3"]}, {"a": ["1"]}], stamps
assert "b" in state.revoked_stamps
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_one_several_or_none_are_a_list() -> None:
    assert [revokes.listed(one) for one in (None, "a", ["a"], ("a",))] == [[], ["a"], ["a"], ["a"]]


def test_a_body_is_decoded_where_the_app_takes_it() -> None:
    app = Celery("seams", set_as_current=False)
    assert messages.decoded(app, "[1]", "application/json", "utf-8") == [1]
    content_type, encoding, body = dumps({1}, "pickle")
    with pytest.raises(ContentDisallowed):
        messages.decoded(app, body, content_type, encoding)
    app.conf.accept_content = ["json", "pickle"]
    assert messages.decoded(app, body, content_type, encoding) == {1}


def test_a_request_is_what_celery_makes_of_a_message() -> None:
    request = tasks.context_of({"id": "t", "task": "name", "group": "g", "chord": {"a": 1}})
    assert (request.id, request.task, request.group, request.chord) == ("t", "name", "g", {"a": 1})
    assert (request.ignore_result, request.stamps) == (False, None)


def test_the_keys_of_results_are_those_of_celery(redis_url: str) -> None:
    app = Celery("seams", backend=redis_url, set_as_current=False)
    app.conf.result_expires = 50
    backend: Any = app.backend
    backend.set_chord_size("g", 2)
    backend.store_result("t", None, "BATCHED")
    GroupResult("g", [AsyncResult("t", app=app)], app=app).save(backend=backend)
    keys = results.result_keys(app)
    assert keys is not None
    assert keys.lasting == (50, 50)
    assert keys.states(["t", "stranger"]) == {"t": "BATCHED"}
    stored = backend.client.keys("*")
    assert len(stored) == 3, "size, group and result"
    for key in stored:
        backend.client.expire(key, 7)
    keys.prolong_groups(["g"])
    assert {backend.client.ttl(key) for key in stored} == {50}
    keys.prolong_results(["t"])


def test_parameters_of_connections_are_those_celery_makes(redis_url: str) -> None:
    """As they are where it has connected, but for what it takes where nobody says anything."""
    url = redis_url.removesuffix("/0") + "/3"
    app: Any = Celery("seams", broker=url, backend=url, set_as_current=False)
    options = {"socket_timeout": 7, "client_name": "shop", "max_connections": 3}
    app.conf.broker_transport_options = options
    app.conf.redis_socket_timeout = 9
    parameters, told = connections.broker_parameters(app, url)
    assert told == options
    with app.connection_for_write() as connection:
        real = connection.default_channel._connparams()
    defaults = {"socket_connect_timeout", "health_check_interval", "socket_keepalive"}
    unsaid = {name for name, value in parameters.items() if real[name] != value}
    assert unsaid <= defaults | {"retry_on_timeout", "socket_keepalive_options"}
    assert (parameters["db"], parameters["client_name"]) == (3, "shop")
    assert connections.backend_parameters(app, url)[0] == app.backend.connparams
    assert not connections.follows_default(app, "redis_socket_timeout")
    assert connections.follows_default(app, "redis_socket_connect_timeout")


def test_a_result_backend_that_is_no_redis_has_states_and_nothing_to_prolong() -> None:
    app = Celery("seams", backend="cache+memory://", set_as_current=False)
    app.backend.store_result("t", None, "BATCHED")
    keys = results.result_keys(app)
    assert keys is not None
    assert keys.lasting == (0, 0)
    assert keys.states(["t"]) == {"t": "BATCHED"}
    assert results.result_keys(Celery("seams", set_as_current=False)) is None


def test_a_queue_is_empty_until_it_has_a_message(server: Server) -> None:
    app = _app(server)
    assert queues.is_empty(app, "idle")
    app.send_task("seams.nobody", queue="idle")
    assert not queues.is_empty(app, "idle")
    server.client.delete("idle")
    assert queues.is_empty(app, "idle")
    app.close()


def test_a_chord_counts_a_member_once_however_often_it_is_told(server: Server) -> None:
    """Rescue tells it where the member's worker died, and cannot know whether it was told."""
    app = _app(server)
    fields = {"id": "member", "group": "g", "group_index": 0, "chord": {"task": "seams.body"}}
    backend: Any = app.backend
    server.client.set("celery-taskset-meta-g.s", 2)
    for _ in range(2):
        backend.on_chord_part_return(tasks.context_of(fields), "SUCCESS", "a result")
    assert server.client.zcard("celery-taskset-meta-g.j") == 1
    app.close()


def _app(server: Server) -> Celery[Any]:
    app: Celery[Any] = Celery("seams", set_as_current=False)
    app.conf.update(broker_url=server.url, result_backend=server.url)
    return app


def test_a_soft_limit_comes_as_the_signal_that_is_held_off() -> None:
    from billiard.pool import SIG_SOFT_TIMEOUT

    assert revokes.SOFT_LIMIT_SIGNAL == SIG_SOFT_TIMEOUT


def test_a_state_of_our_own_has_its_place_among_those_of_celery() -> None:
    results.rank_state("BATCHED", after="REVOKED")
    order = sorted(("STARTED", "BATCHED", "REVOKED", "FAILURE", "SUCCESS"), key=states.precedence)
    assert order == ["SUCCESS", "FAILURE", "REVOKED", "BATCHED", "STARTED"]


def nothing() -> None:
    pass


def test_what_annotations_set_of_a_task_is_known() -> None:
    app = Celery("seams", set_as_current=False)
    app.conf.task_annotations = [{"one": {"rate_limit": "1/m"}}, {"*": {"time_limit": 5}}]
    both = [app.task(name=name, shared=False)(nothing) for name in ("one", "two")]
    app.finalize()
    one, two = (tasks.annotated(task) for task in both)
    assert (one, two) == ({"rate_limit", "time_limit"}, {"time_limit"})


def test_the_queue_of_a_task_is_known_where_no_call_decides_it() -> None:
    app = Celery("seams", set_as_current=False)
    app.conf.task_routes = {"routed": "other", "by_key": {"exchange": "e", "routing_key": "k"}}
    tasks = [app.task(name=name, shared=False)(nothing) for name in ("plain", "routed", "by_key")]
    own: Any = app.task(name="own", shared=False)(nothing)
    app.finalize()
    # As an annotation does it: as an option it is deprecated in Celery 5.7.
    own.queue = "mine"
    found = [queues.queue_of_task(app, task) for task in (*tasks, own)]
    assert found == ["celery", "other", "", "mine"]
    app.conf.task_routes = [lambda _name, args, *_, **__: args[0]]
    app.amqp.flush_routes()
    assert isinstance(queues.queue_of_task(app, own), str)


def test_a_router_of_its_own_knows_no_routes() -> None:
    app = Celery("seams", set_as_current=False)
    app.conf.task_routes = {"*": "other"}
    queues.add_queue(app, "ours")
    assert queues.unrouted(app).route({"queue": "ours"}, "any")["queue"].name == "ours"
    assert queues.unrouted(app).route({}, "any")["queue"].name == "celery"


def test_some_brokers_reach_no_worker_by_name() -> None:
    urls = {"redis://127.0.0.1:1/0": True, "amqp://127.0.0.1:1//": True, "memory://": True}
    for url, takes in urls.items():
        app = Celery("seams", set_as_current=False, broker=url)
        assert queues.takes_remote_control(app) is takes, url


def test_messages_are_piled_up_and_pushed_in_one_trip(server: Server) -> None:
    """As kombu's own batch gets them: by a keyword of a channel's publishing."""
    app = _app(server)
    with app.producer_or_acquire() as producer:
        assert publishing.piles_up(producer)
        with publishing.piled(producer) as pile:
            for number in range(3):
                app.send_task("seams.nobody", args=(number,), producer=producer)
            assert not server.client.exists("celery")
            assert (pile.last[0], pile.size > 0) == ("celery", True)
            before = server.client.info("commandstats").get("cmdstat_lpush", {}).get("calls", 0)
            pile.send({"max_retries": 1, "interval_start": 0})
            pile.send(None)
        assert server.client.info("commandstats")["cmdstat_lpush"]["calls"] == before + 1
        assert server.client.llen("celery") == 3
        app.send_task("seams.nobody", producer=producer)
        assert server.client.llen("celery") == 4
    with Celery("seams", set_as_current=False, broker="memory://").producer_or_acquire() as other:
        assert not publishing.piles_up(other)
    app.close()


def test_a_call_subscribes_to_its_result_unless_it_is_told_not_to(server: Server) -> None:
    app = _app(server)
    with publishing.without_subscriptions(app):
        unheard = app.send_task("seams.nobody")
    heard = app.send_task("seams.nobody")
    channels = server.client.pubsub_channels("celery-task-meta-*")
    assert f"celery-task-meta-{heard.id}" in channels
    assert f"celery-task-meta-{unheard.id}" not in channels
    app.close()


@pytest.mark.usefixtures("nobody_listens")
def test_whoever_wraps_the_sending_of_tasks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Celery("seams", set_as_current=False, broker="memory://")
    app.task(name="seams.wrapped", shared=False)(nothing)
    task: Any = app.tasks["seams.wrapped"]
    with app.producer_or_acquire() as producer:
        assert publishing.calls_differ_by_arguments_alone(task, producer)
        for owner, name in (
            (type(task), "apply_async"),
            (Celery, "send_task"),
            (Producer, "publish"),
        ):
            with monkeypatch.context() as patched:
                celerys = getattr(owner, name)
                wrapped = functools.wraps(celerys)(lambda *args, **more: (args, more))
                patched.setattr(owner, name, wrapped)
                assert not publishing.calls_differ_by_arguments_alone(task, producer), name
        assert publishing.calls_differ_by_arguments_alone(task, producer)


def test_a_body_is_encoded_as_a_channel_does(server: Server) -> None:
    app = _app(server)
    body: Any = ((1,), {}, {"chord": None})
    with app.producer_or_acquire() as producer:
        producer.publish(body, routing_key="plain", serializer="json")
        message = json.loads(str(server.client.lindex("plain", 0)))
        encoded = publishing.encoded(producer.channel, body, "json")
    assert encoded == (message["body"], "application/json")
    assert publishing.shown((1, "it's"), 100) == "(1, 'it\\'s')"
    app.close()


def test_messages_of_several_queues_are_counted(server: Server) -> None:
    app = _app(server)
    for queue in ("one", "two", "two"):
        app.send_task("seams.nobody", queue=queue, priority=5)
    assert queues.messages_in(app, ["one", "two", "none"]) == 3
    app.close()


def test_final_results_are_read_by_their_ids(server: Server) -> None:
    app = _app(server)
    backend: Any = app.backend
    backend.store_result("well", {"a": 1}, "SUCCESS")
    backend.store_result("ill", ValueError("a word"), "FAILURE")
    backend.store_result("under way", None, "BATCHED")
    server.client.set("celery-task-meta-rubbish", "{")
    keys = results.result_keys(app)
    assert keys is not None
    found = keys.final(["well", "ill", "under way", "rubbish", "unknown"])
    assert found.pop("well") == ("SUCCESS", {"a": 1})
    (state, error), (broken, why) = found.pop("ill"), found.pop("rubbish")
    assert (state, repr(error), broken) == ("FAILURE", "ValueError('a word')", "FAILURE")
    assert isinstance(why, results.UNREADABLE)
    assert found == {}
    app.close()
    memory = Celery("seams", backend="cache+memory://", set_as_current=False)
    memory.backend.store_result("well", 1, "SUCCESS")
    keys = results.result_keys(memory)
    assert keys is not None
    assert keys.final(["well", "unknown"]) == {"well": ("SUCCESS", 1)}
