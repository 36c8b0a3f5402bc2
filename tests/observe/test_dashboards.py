"""Dashboards and alert rules as files: their metrics exist, what they use is there, and each alert has its section."""

from __future__ import annotations

import importlib
import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from support.dashboard_queries import DASHBOARDS, DEPLOY, Query, alert_queries, alerts, dashboard_queries, pages, panels

from antiphon.cli.main import COMMANDS
from antiphon.runtime.metrics.table import METRICS

pytestmark = pytest.mark.pure

ROOT: Final = DEPLOY.parent
RUNBOOK: Final = ROOT / "docs" / "runbook.md"
EVERY: Final = [*dashboard_queries(), *alert_queries()]
OF_PROMETHEUS: Final = {"job", "instance", "le", "alertstate", "severity"}
SUFFIXES: Final = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
CODES: Final = re.compile(r"\|\s*\d[\d, ]*\|([^|]*)\|")
UNITS: Final = {"s", "short", "percentunit", "bytes", "Bps", "pps", "cps", "reqps"}


def _definition(metric: str) -> Any:
    for name, definition in METRICS.items():
        if metric in {name + suffix for suffix in SUFFIXES[definition.kind]}:
            return definition
    return None


def test_there_is_a_page_for_each_thing_that_operators_look_at() -> None:
    assert set(pages()) == {"fleet", "call", "relay", "transceiver", "agents", "models"}
    assert all(dashboard["uid"] == f"antiphon-{name}" for name, dashboard in pages().items())


def test_dashboards_are_what_their_source_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DEPLOY / "grafana")
    written = importlib.import_module("pages").PAGES
    assert json.loads(json.dumps(written)) == pages(), "run: python deploy/grafana/generate.py"


@pytest.mark.parametrize("query", EVERY, ids=lambda query: query.where)
def test_every_metric_and_label_of_a_query_is_in_the_table(query: Query) -> None:
    for metric in query.metrics:
        assert _definition(metric), f"{metric} is no metric"
    for metric, label, operator, value in query.selected():
        definition = _definition(metric)
        assert label in {*definition.labels, *OF_PROMETHEUS}, f"{metric} has no label {label}"
        known = definition.labels.get(label)
        if isinstance(known, tuple) and "$" not in value:
            wanted = value.split("|") if operator in ("=~", "!~") else [value]
            assert [each for each in wanted if each not in known] == [], f"{label} is never that"


@pytest.mark.parametrize("query", EVERY, ids=lambda query: query.where)
def test_a_counter_is_shown_by_its_rate_and_a_histogram_by_its_buckets(query: Query) -> None:
    if ": variable" in query.where:
        return  # only the labels count
    for metric in query.metrics:
        definition = _definition(metric)
        for place in re.finditer(rf"\b{metric}\b(\{{[^}}]*\}})?(\[[^]]*\])?", query.expression):
            since_start = "restarts_total" in metric or "unless" in query.expression  # a number of times, as it is
            assert (
                bool(place[2]) == (definition.kind != "gauge") or since_start or metric.endswith("start_time_seconds")
            )


@pytest.mark.parametrize("name", pages())
def test_a_page_has_all_that_it_uses(name: str) -> None:
    page = pages()[name]
    known = {variable["name"] for variable in page["templating"]["list"]} | {"__rate_interval", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(page))) <= known
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/antiphon.yml").read_text())["datasources"]
    used = {target["datasource"]["uid"] for panel in panels(page) for target in panel.get("targets", ())}
    assert used <= {source["uid"] for source in sources}
    numbers = [panel["id"] for panel in page["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", pages())
def test_no_panels_of_a_page_lie_on_one_another_and_none_is_off_the_page(name: str) -> None:
    places = [panel["gridPos"] for panel in pages()[name]["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)


@pytest.mark.parametrize("name", pages())
def test_what_a_panel_shows_is_in_the_unit_of_its_metrics(name: str) -> None:
    for panel in panels(pages()[name]):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert unit in UNITS
        for target in panel.get("targets", ()):
            text = target.get("expr", "")
            if "histogram_quantile" in text or "lateness_seconds" in text:
                metric = next(each for each in Query("", text).metrics if not each.endswith("_info"))
                right = {"seconds": "s", "ratio": "percentunit"}.get(_definition(metric).unit, "short")
                assert unit == right, panel["title"]


@pytest.mark.parametrize("name", alerts())
def test_an_alert_leads_to_a_section_that_says_what_to_do(name: str) -> None:
    rule = alerts()[name]
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    assert rule["labels"]["severity"] in ("page", "ticket")
    section = RUNBOOK.read_text().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert section.strip().startswith("**Callers notice**")
    assert "**It is over**" in section


def test_the_runbook_has_no_section_of_an_alert_that_is_gone_and_names_commands_and_pages_that_exist() -> None:
    text = RUNBOOK.read_text()
    sections = set(re.findall(r"^## (.+)$", text, re.MULTILINE)) - {"What has no alert"}
    assert sections == set(alerts())
    assert set(re.findall(r"\bantiphon ([a-z]+)\b", text)) <= {*COMMANDS, "top"}
    titles = {panel["title"] for page in pages().values() for panel in panels(page)}
    for shown in re.findall(r"\*([A-Z][^*]+)\*(?!\*)", text.replace("**", "").replace("\n", " ")):
        assert any(title.startswith(shown) for title in titles), f"no panel is called {shown!r}"


def test_the_codes_that_count_as_no_capacity_are_codes_of_the_api() -> None:
    codes = set(re.findall(r"`(\w+)`", "".join(CODES.findall((ROOT / "docs/signaling.md").read_text()))))
    (counted,) = set(re.findall(r'code=~"([^"]+)"', alerts()["NoCapacity"]["expr"]))
    assert set(counted.split("|")) <= codes


def test_the_folder_holds_no_page_that_nothing_writes() -> None:
    assert {path.name for path in Path(DASHBOARDS).iterdir()} == {f"{name}.json" for name in pages()}
