"""A real Prometheus scrapes a real run: its rules load, every query of the dashboard returns data, and alerts ring."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from lib.metrics import LISTEN, Served
from lib.process import kill_group, spawn, temporary_directory, wait_for
from lib.redis_server import free_port
from lib.scenario import wait_for_state

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docker/prometheus/rules.yml"
DASHBOARD = ROOT / "docker/grafana/drover.json"


class Prometheus:
    """On a port of its own, with the product's rules; scrapes these targets every second."""

    def __init__(self, targets):
        self.dir = temporary_directory("prometheus")
        self.port = free_port()
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(RULES)],
                  "scrape_configs": [{"job_name": "drover", "static_configs": [{"targets": targets}]}]}
        (self.dir / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        with open(self.dir / "log", "wb") as log:
            self.process = spawn(["prometheus", f"--config.file={self.dir}/prometheus.yml", f"--storage.tsdb.path={self.dir}/data",
                                  f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log, cwd=self.dir)

    def __enter__(self):
        wait_for(lambda: self.api("query?query=1"), lambda: (self.dir / "log").read_text()[-2000:])
        return self

    def __exit__(self, *_):
        kill_group(self.process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def api(self, what):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{what}", timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        return self.api("query?" + urllib.parse.urlencode({"query": expression}))["result"]


def dashboard_queries():
    """What Grafana would ask: (panel, expression), its variables filled in."""
    variables = {"$migration": ".*", "$__rate_interval": "30s"}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in variables.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


def test_promtool_finds_nothing_wrong_with_the_rules():
    for argv in (["check", "rules", RULES], ["test", "rules", ROOT / "tests/prometheus/rules_test.yml"]):
        done = subprocess.run(["promtool", *map(str, argv)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_section_and_every_section_an_alert():
    alerts = re.findall(r"^ +- alert: (\w+)", RULES.read_text(), re.MULTILINE)
    page = (ROOT / "docs/alerts.md").read_text()
    assert re.findall(r"^## (\w+)", page, re.MULTILINE) == alerts
    assert re.findall(r"runbook: docs/alerts.md#(\w+)", RULES.read_text()) == [alert.lower() for alert in alerts]
    links = subprocess.run(re.search(r"^sed .*rules\.yml$", page, re.MULTILINE)[0], shell=True, cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout
    assert re.findall(r"runbook_url: https://\S+/docs/alerts.md#(\w+)", links) == [alert.lower() for alert in alerts]
    for section in page.split("\n## ")[1:]:
        assert all(f"**{part}**" in section for part in ("Means", "Look at", "Do")), section.split("\n")[0]


def test_grafana_is_given_the_dashboard_and_a_source_that_can_be_reached():
    services = yaml.safe_load((ROOT / "docker/compose.yml").read_text())["services"]
    folder = ROOT / "docker/grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards/drover.yml").read_text())["providers"]
    mounts = dict(reversed(volume.split(":")[:2]) for volume in services["grafana"]["volumes"])
    assert mounts["/etc/grafana/provisioning"] == "./grafana/provisioning"
    assert mounts[provider["options"]["path"] + "/drover.json"] == "./grafana/drover.json"
    assert urllib.parse.urlsplit(source["url"]).hostname in services and source["type"] == "prometheus"
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["templating"]["list"][0]["query"] == source["type"]
    assert all(panel["datasource"] == {"type": source["type"], "uid": "${datasource}"} for panel in dashboard["panels"])


@pytest.fixture
def run(pg, drover):
    """Two workers and an exporter, and a Prometheus that scrapes them."""
    drover.run("init")
    drover.run("config", "backoff=0.1", "lock_timeout_ms=20")
    served = [Served(drover.worker("--name", name, *LISTEN)) for name in ("a", "b")] + [Served(drover.popen("exporter", *LISTEN))]
    with Prometheus([f"127.0.0.1:{one.port}" for one in served]) as prometheus:
        prometheus.served = served
        yield prometheus


def test_every_query_returns_data_in_a_run_with_failures(pg, drover, run):
    pg.sql("""CREATE TABLE t (id int PRIMARY KEY, a int, b int); INSERT INTO t SELECT g, g FROM generate_series(1, 20000) g;
              CREATE TABLE bad (id int PRIMARY KEY, b int CHECK (b IS NULL)); INSERT INTO bad SELECT g FROM generate_series(1, 500) g;
              UPDATE t SET a = 0 WHERE id IN (7, 4000)""")
    # A row that the application holds, poison rows, a pause after each job, and a migration whose breaker opens.
    application = pg.conn(autocommit=False)
    application.execute("SELECT FROM t WHERE id = 9000 FOR UPDATE")
    good = drover.migration("good", "-- drover: table t\n-- drover: batch-size 100\n-- drover: set b = 100 / a\n-- drover: pending b IS NULL\n")
    bad = drover.migration("bad", "-- drover: table bad\n-- drover: set b = 1\n")
    drover.run("produce", bad)
    wait_for_state(pg, "bad", "paused")
    drover.run("produce", good)
    drover.run("config", "good", "processing_interval_ms=100")
    missing = list(dashboard_queries())

    def all_answered():
        missing[:] = [(panel, query) for panel, query in missing if not run.query(query)]
        return not missing

    wait_for(all_answered, lambda: f"every query returns data, not: {missing}", 120)
    application.rollback()
    wait_for(lambda: run.query('ALERTS{alertname="DroverBreakerOpen", migration="bad", alertstate="firing"}'), "the breaker rings")
    wait_for(lambda: any(float(one["value"][1]) >= 1 for one in run.query("drover:work")), "there is work, for who scales by it")
    # Every rule was evaluated, without an error, over metrics that are there.
    rules = [rule for group in run.api("rules")["groups"] for rule in group["rules"]]
    assert len(rules) >= 7 and all(rule["health"] == "ok" and not rule.get("lastError") for rule in rules), rules
    names = set(run.api("label/__name__/values"))
    asked = set(re.findall(r"\b(?:drover|process)_\w+", " ".join([RULES.read_text(), *(query for _, query in dashboard_queries())])))
    assert asked <= names, asked - names
    assert not any(target["lastError"] for target in run.api("targets")["activeTargets"])


def test_promtool_finds_nothing_wrong_with_what_is_served(run):
    for served in run.served:
        done = subprocess.run(["promtool", "check", "metrics"], input=served.request("/metrics")[2], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
