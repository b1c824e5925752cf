"""Against a real Prometheus (Debian's package): it scrapes the example's process, answers with our
numbers, evaluates every panel of the dashboard and fires our alerts.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from batchq.journal.adoption import KNOWN_EPOCHS
from batchq.observe.catalogue import METRICS
from batchq.observe.diagnosis.batches import NOT_SUBMITTED, NOT_TAKEN
from tests.apps.base import make_app
from tests.harness import ROOT, Process, ReservedPort, Stack, wait_until
from tests.journals import LANE, capture, capture_many, claim
from tests.test_docs import anchors
from tests.test_flow import EMBEDDINGS, Steps

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="Prometheus is not installed (Debian: apt-get install prometheus)",
)
RULES = ROOT / "docs/prometheus/alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs/grafana/batchq.json").read_text())
MODEL = LANE.model
NAMES = re.compile(r"\bbatchq_\w+")


def expressions() -> list[str]:
    """What the panels, variables and annotations of the dashboard ask Prometheus for."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    variables = DASHBOARD["templating"]["list"]
    asked += [one["definition"] for one in variables if one["type"] == "query"]
    return asked


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


# As they lie there


def test_the_dashboard_and_the_alerts_ask_for_what_there_is() -> None:
    there: set[str] = set()
    for metric in METRICS.values():
        classes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        there |= {metric.name + ending for ending in classes}
    asked = {name for expr in expressions() for name in NAMES.findall(expr)}
    alerted = {name for rule in rules() for name in NAMES.findall(rule["expr"])}
    assert asked - there == set()
    assert alerted - there == set()
    # Everything there is, but for what a graph says nothing of, is on the dashboard.
    shown = {re.sub("_bucket$", "", name) for name in asked}
    unshown = {"batchq_build_info", "batchq_read_seconds"}
    assert {metric.name for metric in METRICS.values()} - shown == unshown


def test_labels_in_the_dashboard_are_those_of_their_metric() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            grouped = re.findall(r"by \(([^)]+)\)", target["expr"])
            kept = {label.strip() for labels in grouped for label in labels.split(",")}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, target
            for name in NAMES.findall(target["expr"]):
                plain = re.sub("_bucket$", "", name)
                metric = next(one for one in METRICS.values() if one.name == plain)
                assert kept <= {*metric.labels, "le"}, target


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """What its own schema asks for, and what it shows badly without a word: panels on top of each
    other, two with one id, a data source of somebody else.
    """
    assert DASHBOARD["schemaVersion"] >= 36
    assert "id" not in DASHBOARD, "the id is the Grafana's that takes it"
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"]
        assert panel["type"] in {"stat", "timeseries", "heatmap"}
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(one == {"type": "prometheus", "uid": "${datasource}"} for one in sources)
    variables = [one["name"] for one in DASHBOARD["templating"]["list"]]
    used = {name for expr in expressions() for name in re.findall(r"\$(\w+)", expr)}
    assert used - set(variables) == {"__rate_interval"}
    assert variables[0] == "datasource"


def test_each_alert_has_a_runbook_that_is_there() -> None:
    assert len(rules()) == 6
    for rule in rules():
        file, _, heading = rule["annotations"]["runbook"].partition("#")
        assert heading in anchors(ROOT / file)
        assert f"`{rule['alert']}`" in (ROOT / file).read_text()
        assert f"`{rule['alert']}`" in (ROOT / "docs/metrics.md").read_text()


def test_the_alerts_are_as_patient_with_batches_as_a_diagnosis() -> None:
    (stuck,) = [rule["expr"] for rule in rules() if rule["alert"] == "BatchqLaneStuck"]
    assert f"batchq_batch_late_seconds > {NOT_TAKEN.total_seconds():.0f}" in stuck
    assert stuck.rstrip().endswith(f"> {NOT_SUBMITTED.total_seconds():.0f}")


@needs_prometheus
@pytest.mark.parametrize("words", [["check", "rules", RULES], ["test", "rules", "alerts_test.yml"]])
def test_promtool_finds_the_rules_right(words: list[str | Path]) -> None:
    done = subprocess.run(
        ["promtool", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=RULES.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


# A server


@dataclass(frozen=True)
class Prometheus:
    url: str
    steps: Steps

    def ask(self, path: str, **words: str) -> Any:
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(words)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        found = self.ask("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def value(self, expression: str) -> float | None:
        """The only sample there is, if there is one."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire now, each with the model it is about."""
        return {
            (one["labels"]["alertname"], one["labels"].get("model", ""))
            for one in self.ask("alerts")["alerts"]
            if one["state"] == "firing"
        }


@pytest.fixture(scope="module")
def prometheus(shared_stack: Stack) -> Prometheus:
    """A server that scrapes examples/metrics.py each second, before, while and after two batches
    run of which one has a row that fails.
    """
    steps = journey(shared_stack)
    steps.journal.own_errors.note(TypeError())
    port = ReservedPort()
    exporter = shared_stack.process(
        [sys.executable, "-m", "examples.metrics"],
        name="exporter",
        environment={"METRICS_PORT": str(port.release())},
    )
    exporter.wait_for_output("/metrics")
    server = Prometheus(started(shared_stack, port.number), steps)
    wait_until(lambda: server.value("batchq_answered_total"), description="the first scrape")
    steps.emulator.fault("line_error", first=1)
    capture_many(steps.journal, 3)
    steps.submitted()
    steps.until_over()
    wait_until(lambda: server.value("batchq_failed_total > 0"), description="it is scraped")
    return server


def journey(stack: Stack) -> Steps:
    """Four batches whose turnarounds are about 0, 0, 1,000 and 5,000 seconds; a lane that waits."""
    KNOWN_EPOCHS.clear()
    app = make_app(
        "prometheus",
        batchq_poll_first=0.05,
        batchq_poll_longest=0.3,
        batchq_accounts={"default": {"prices": "openai"}},
    )
    steps = Steps(stack.server, stack.emulator, app)
    for took in (0, 0, 1_000, 5_000):
        capture(steps.journal)
        batch = steps.submitted()
        if took:
            steps.set(batch.id, submitted_at=batch.submitted_at - took * 1000)
        steps.until_over()
    steps.journal.beat.note()
    steps.journal.lanes.learn_limit(LANE, 90_000)
    return steps


def started(stack: Stack, target: int) -> str:
    """A server of its own, on its own folder; it has said that it is ready."""
    # Nobody waits five minutes here: the rules are ours but for their patience.
    hasty = re.sub(r"for: \d+m", "for: 1s", RULES.read_text())
    (stack.directory / "alerts.yml").write_text(hasty)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [
            {"job_name": "batchq", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        ],
    }
    file = stack.directory / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    port = ReservedPort()
    url = f"http://127.0.0.1:{port.number}"
    process = stack.process(
        [
            "prometheus",
            f"--config.file={file}",
            f"--storage.tsdb.path={stack.directory / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port.release()}",
        ],
        name="prometheus",
        directory=stack.directory,
    )
    wait_until(partial(is_ready, process, url), description="Prometheus is ready")
    return url


def is_ready(process: Process, url: str) -> bool:
    assert process.exit_code is None, process.output()
    try:
        with urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@needs_prometheus
def test_the_server_has_our_numbers(prometheus: Prometheus) -> None:
    ledger = prometheus.steps.emulator.ledger()["totals"]["batch"]
    (of_lane,) = prometheus.query("batchq_cost_dollars_total")
    assert of_lane[0]["model"] == MODEL
    assert of_lane[0]["job"] == "batchq"
    assert of_lane[1] == ledger["cost_usd"] > 0
    assert prometheus.value("sum(batchq_answered_total)") == ledger["ok"]
    assert prometheus.value("sum(batchq_failed_total)") == 1
    assert prometheus.value("batchq_token_limit") == 90_000
    assert prometheus.value('sum(batchq_closed_batches_total{status="completed"})') == 5
    assert prometheus.value("sum(increase(batchq_attempts_total[1m])) > 0")
    kinds = {name: found[0]["type"] for name, found in prometheus.ask("metadata").items()}
    for metric in METRICS.values():
        # In OpenMetrics, which the two speak, a counter's family goes without its ending.
        assert kinds[metric.name.removesuffix("_total")] == metric.kind, metric.name


@needs_prometheus
def test_a_quantile_of_the_turnaround_is_what_the_classes_say(prometheus: Prometheus) -> None:
    """Five batches: three within a minute, one within half an hour, one within two hours."""
    classes = f'sum by (le) (batchq_batch_turnaround_seconds_bucket{{model="{MODEL}"}})'
    assert prometheus.value(f"histogram_quantile(0.5, {classes})") == pytest.approx(50)
    assert prometheus.value(f"histogram_quantile(0.7, {classes})") == pytest.approx(1350)
    assert prometheus.value(f"histogram_quantile(0.9, {classes})") == pytest.approx(5400)
    mean = "batchq_batch_turnaround_seconds_sum / batchq_batch_turnaround_seconds_count"
    assert prometheus.value(mean) == pytest.approx(6_000 / 5, abs=5)


@needs_prometheus
def test_every_panel_of_the_dashboard_has_something_to_show(prometheus: Prometheus) -> None:
    for expression in expressions():
        asked = expression.replace("$__rate_interval", "1m")
        if label := re.fullmatch(r"label_values\((\w+), (\w+)\)", asked):
            asked = f"count by ({label[2]}) ({label[1]})"
        asked = re.sub(r'=~"\$\w+"', '=~".*"', asked)
        # What has just begun grows at the next scrape.
        wait_until(partial(prometheus.query, asked), description=asked)


MET = {("BatchqOwnErrors", "")}
"""The error in Batchq itself that its journey has met."""


@needs_prometheus
def test_alerts_fire_for_what_is_stuck_and_dead(prometheus: Prometheus) -> None:
    journal = prometheus.steps.journal
    journal.beat.note()
    wait_until(lambda: prometheus.firing() == MET, description="all else is well")
    asked = capture(journal, b'{"model": "x", "input": "a"}', lane=EMBEDDINGS, inputs=1)
    hours_ago = journal.clock.now() - 2 * 3_600_000
    journal.store.redis.zadd(
        journal.store.lane_keys(EMBEDDINGS)[0], {asked.custom_ids[0]: hours_ago}
    )
    for _ in range(3):
        lease, _ = claim(journal, "kills")
        journal.store.redis.delete(lease.key)
    lease, _ = claim(journal, "kills")
    journal.runs.bury("kills", token=lease.token, message=b"m", state="FAILURE")
    expected = {("BatchqLaneStuck", EMBEDDINGS.model), ("BatchqPromptsFail", ""), *MET}
    wait_until(lambda: prometheus.firing() == expected, description="both fire")
    journal.lanes.hold(EMBEDDINGS)
    wait_until(
        lambda: prometheus.firing() == {("BatchqPromptsFail", ""), *MET},
        description="who holds a lane knows that it waits",
    )


@needs_prometheus
def test_redis_goes_away_and_the_server_says_so(
    prometheus: Prometheus, shared_stack: Stack
) -> None:
    shared_stack.server.stop()
    try:
        wait_until(lambda: ("BatchqNobodyTicks", "") in prometheus.firing(), description="it fires")
        assert prometheus.value("up") == 1, "who is scraped is there"
        assert prometheus.value("batchq_up") == 0
        assert prometheus.value("sum(batchq_prompts)") is None, "and knows nothing"
        took = prometheus.value("max_over_time(scrape_duration_seconds[1m])")
        assert took is not None
        assert took < 4
    finally:
        shared_stack.server.start()
    wait_until(lambda: prometheus.value("batchq_up") == 1, description="it is back")
    wait_until(lambda: not prometheus.firing() & {("BatchqNobodyTicks", "")}, description="over")
