"""The artefacts of `--with monitoring`: alerts, their runbook, and the dashboard."""

import json
import re

import jsonschema
import promql_parser
import pytest
import yaml

from loafer_kit import LoaferManager
from loafer_kit.operations.metrics import families
from loafer_kit.operations.recorder import Recorder
from loafer_kit.operations.snapshot import OUTCOMES

FOLDER = "deploy/monitoring"

# Of a rule file, as Prometheus reads it: it refuses fields that it does not know.
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
RULES = {
    "type": "object",
    "required": ["groups"],
    "additionalProperties": False,
    "properties": {
        "groups": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "rules"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "minLength": 1},
                    "rules": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["alert", "expr", "labels", "annotations"],
                            "additionalProperties": False,
                            "properties": {
                                "alert": {"type": "string", "pattern": "^[A-Z][A-Za-z]+$"},
                                "expr": {"type": "string"},
                                "for": {"type": "string", "pattern": "^[1-9][0-9]*[smhd]$"},
                                "labels": TEXTS,
                                "annotations": TEXTS,
                            },
                        },
                    },
                },
            },
        }
    },
}

# Of a dashboard, the parts that Grafana needs to show it.
DASHBOARD = {
    "type": "object",
    "required": ["title", "panels", "templating", "schemaVersion", "time"],
    "properties": {
        "title": {"type": "string", "minLength": 1},
        "schemaVersion": {"type": "integer"},
        "panels": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["id", "type", "title", "gridPos", "targets", "datasource"],
                "properties": {
                    "gridPos": {
                        "type": "object",
                        "required": ["h", "w", "x", "y"],
                        "properties": {"x": {"minimum": 0, "maximum": 23}, "w": {"maximum": 24}},
                    },
                    "targets": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"required": ["expr", "refId", "legendFormat"]},
                    },
                },
            },
        },
    },
}


@pytest.fixture(scope="module")
def files(ship):
    """The files of a service with an odd name."""
    return ship("monitoring", name="9.Foo_Bar")


@pytest.fixture(scope="module")
def rules(files):
    """The alert rules."""
    found = yaml.safe_load(files[f"{FOLDER}/alerts.yaml"])
    jsonschema.validate(found, RULES)
    return found["groups"][0]["rules"]


@pytest.fixture(scope="module")
def dashboard(files):
    """The dashboard."""
    found = json.loads(files[f"{FOLDER}/dashboard.json"])
    jsonschema.validate(found, DASHBOARD)
    return found


def known_names():
    """The samples that a service can write."""
    names = {"job", "instance", "le"}
    for family in families(Recorder(LoaferManager([])).snapshot()):
        suffixes = {"counter": ["_total"], "info": ["_info"]}.get(family.kind, [""])
        if family.kind == "histogram":
            suffixes = ["_bucket", "_sum", "_count"]
        names |= {family.name + suffix for suffix in suffixes}
    return names


def check(expression):
    """Parse a query as Prometheus does; each metric in it must exist."""
    promql_parser.parse(expression)
    used = set(re.findall(r"\bloafer_\w+", expression))
    assert used <= known_names(), used - known_names()
    return used


def test_prometheus_parses_each_rule_and_the_service_has_its_metrics(rules):
    """An alert on a metric that nobody writes never fires."""
    for rule in rules:
        assert check(rule["expr"])
        assert 'job="service-9-foo-bar"' in rule["expr"]
    assert len({rule["alert"] for rule in rules}) == len(rules)


def test_alerts_on_outcomes_name_those_that_exist(rules):
    """A mistyped label value matches nothing."""
    values = {
        value
        for rule in rules
        for match in re.findall(r'outcome=~"([^"]+)"', rule["expr"])
        for value in match.split("|")
    }
    assert values
    assert values <= set(OUTCOMES)


def test_each_alert_has_its_section_in_the_runbook_and_each_section_its_alert(rules, files):
    """The annotation is the path of the section."""
    headings = re.findall("^## (.+)$", files[f"{FOLDER}/runbook.md"], re.MULTILINE)

    assert headings == [rule["alert"] for rule in rules]
    for rule in rules:
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert path in files
        assert anchor == rule["alert"].lower()
        assert rule["labels"]["severity"] in ("critical", "warning", "info")


def test_templates_of_annotations_are_left_to_prometheus(rules):
    """They are filled in when the alert fires."""
    text = json.dumps(rules)

    assert "{{ $labels.route }}" in text
    assert "{%" not in text


def test_the_documentation_names_each_alert(rules):
    """With what it means."""
    from pathlib import Path

    page = Path(__file__).parents[3].joinpath("docs/how-to/see-your-service.md").read_text()
    assert [rule["alert"] for rule in rules] == re.findall(
        r"^\| `(Loafer\w+)` \|", page, re.MULTILINE
    )


def test_the_dashboard_shows_metrics_that_exist(dashboard):
    """Each query is one that Prometheus parses, once Grafana has filled in its variables."""
    assert dashboard["title"] == "service-9-foo-bar"
    shown = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            shown |= check(target["expr"].replace("$__rate_interval", "5m"))
    assert {"loafer_slots_used", "loafer_message_wait_seconds_bucket", "loafer_paused"} <= shown


def test_the_panels_do_not_overlap(dashboard):
    """Grafana moves those that do."""
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_service_turns_monitoring_on(files):
    """By one line; without the artefact it does not."""
    module = files["foobar/__init__.py"]

    assert "from loafer_kit.contrib.monitoring import Monitoring\n" in module
    assert module.endswith("\nmonitoring = Monitoring(manager)\n")


def test_without_the_artefact_nothing_of_it_is_left(ship):
    """Not a line."""
    module = ship()["foobar/__init__.py"]

    assert "onitoring" not in module
    assert module.endswith('manager = LoaferManager(routes=routes.routes, name="foobar")\n')
