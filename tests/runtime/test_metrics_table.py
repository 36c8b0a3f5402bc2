"""The table of metrics, the code that counts and the documentation name the same metrics with the same labels."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from antiphon.relay.counters import Counters, figures
from antiphon.runtime.metrics.docs import table_of
from antiphon.runtime.metrics.table import METRICS

pytestmark = pytest.mark.pure
ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = [
    file
    for home in ("libs", "services", "sdk")
    for file in sorted((ROOT / home).rglob("*.py"))
    if "metric" in file.read_text()
]


class Use(NamedTuple):
    """One place in the code that names a metric."""

    where: str
    name: str
    labels: frozenset[str] | None
    """None: a callback, or labels that are given by a mapping."""


def uses() -> Iterator[Use]:
    for file in SOURCES:
        if file.name == "table.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if re.fullmatch(r"antiphon_[a-z_]+", node.value) and node.value != "antiphon_relay_":
                    yield Use(f"{file.relative_to(ROOT)}:{node.lineno}", node.value, None)
            elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name, keywords = node.args[0].value, [each.arg for each in node.keywords]
                counts = isinstance(node.func, ast.Attribute) and node.func.attr in ("add", "observe")
                if isinstance(name, str) and name.startswith("antiphon_") and counts and None not in keywords:
                    labels = frozenset(str(each) for each in keywords if each != "trace")
                    yield Use(f"{file.relative_to(ROOT)}:{node.lineno}", name, labels)


def test_what_the_code_counts_is_in_the_table_with_its_labels() -> None:
    found = list(uses())
    assert not [use for use in found if use.name not in METRICS]
    assert not [use for use in found if use.labels is not None and use.labels != set(METRICS[use.name].labels)]


def test_what_is_in_the_table_is_counted_somewhere() -> None:
    relay = (ROOT / "services/relay/antiphon/relay/control/metrics_http.py").read_text()
    own = {f"antiphon_relay_{name}" for name in re.findall(r'"([a-z_]+)", lambda', relay)}
    counted = {use.name for use in uses()} | set(figures(Counters())) | own | {"antiphon_relay_round_trip_seconds"}
    assert not set(METRICS) - counted


def test_names_say_their_unit_and_histograms_have_buckets_in_order() -> None:
    for name, each in METRICS.items():
        assert re.fullmatch(r"antiphon(_[a-z]+)+", name)
        assert name.endswith("_total") == (each.kind == "counter"), name
        assert (each.kind == "histogram") == bool(each.buckets), name
        assert list(each.buckets) == sorted(set(each.buckets)), name
        assert each.services, name
        assert not {"le", "job", "instance", "trace"} & set(each.labels), name


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert table_of(METRICS.values()) in page, "run .venv/bin/python -m antiphon.runtime.metrics.docs"
