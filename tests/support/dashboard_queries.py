"""Every query of the provisioned dashboards and alert rules, as Prometheus is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
DASHBOARDS: Final = DEPLOY / "grafana" / "dashboards"
_METRIC: Final = re.compile(r"antiphon_\w+")
_SELECTOR: Final = re.compile(r"(antiphon_\w+)\{([^}]*)\}")
_LABEL: Final = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"((?:[^\"\\]|\\.)*)\"")
_VARIABLE: Final = re.compile(r"\$\{?(\w+)")
_TEXTS: Final = re.compile(r"\"(?:[^\"\\]|\\.)*\"")


class Query(NamedTuple):
    """One query, and where it stands."""

    where: str
    expression: str

    @property
    def metrics(self) -> set[str]:
        """Names in the query, outside of its texts."""
        return set(_METRIC.findall(_TEXTS.sub('""', self.expression)))

    def selected(self) -> Iterator[tuple[str, str, str, str]]:
        """(metric, label, operator, value) of each selector."""
        for metric, inside in _SELECTOR.findall(self.expression):
            for label, operator, value in _LABEL.findall(inside):
                yield metric, label, operator, value

    def asked(self, window: str = "1m") -> str:
        """With Grafana's variables as they are at first: everything is chosen."""
        text = self.expression.replace("$__rate_interval", window)
        return _VARIABLE.sub(".*", text)


def pages() -> dict[str, dict[str, Any]]:
    """The dashboards by file name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(page: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[Query]:
    """Of panels, variables and annotations that ask Prometheus."""
    return [query for name, page in pages().items() for query in _of_page(name, page)]


def _of_page(name: str, page: dict[str, Any]) -> Iterator[Query]:
    for panel in panels(page):
        for target in panel.get("targets", ()):
            if target["datasource"]["type"] == "prometheus":
                yield Query(f"{name}: {panel['title']} {target['refId']}", target["expr"])
    for variable in page["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert match, variable["definition"]
            yield Query(f"{name}: variable {variable['name']}", f"count by ({match[2]}) ({match[1]})")
    for annotation in page["annotations"]["list"]:
        yield Query(f"{name}: annotation {annotation['name']}", annotation["expr"].removesuffix("> 0"))


def alerts() -> dict[str, dict[str, Any]]:
    """The rules by name."""
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def alert_queries() -> list[Query]:
    return [Query(f"alert {name}", rule["expr"]) for name, rule in alerts().items()]
