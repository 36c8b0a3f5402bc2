"""What dashboards are put together from: queries, panels, variables, links. `dashboards` says which there are.

A panel's description is for a person who was woken up: what is shown, and what is good. Units, thresholds and colours
mean the same on every page: green is well, orange wants a look, red is noticed by callers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

PROMETHEUS: Final = {"type": "prometheus", "uid": "prometheus"}
JAEGER: Final = {"type": "jaeger", "uid": "jaeger"}
COLUMNS: Final = 24
"""Of Grafana's grid."""
WINDOW: Final = "$__rate_interval"

Json = dict[str, Any]


# ---- queries ---------------------------------------------------------------------------------------------------------


def _selector(metric: str, labels: str) -> str:
    return f"{metric}{{{labels}}}" if labels else metric


def here(expression: str, labels: str = "") -> str:
    """Of the chosen region only: the region of a process is a label of its `antiphon_process_info`."""
    chosen = f'region=~"$region"{"," if labels else ""}{labels}'
    return f"{expression} * on (job, instance) group_left () antiphon_process_info{{{chosen}}}"


def total(metric: str, by: str = "", labels: str = "", process: str = "") -> str:
    """A gauge, added up over the processes; `process` picks them by labels of their `antiphon_process_info`."""
    return f"sum{f' by ({by})' if by else ''} ({here(_selector(metric, labels), process)})"


def worst(metric: str, by: str = "", labels: str = "", process: str = "") -> str:
    return f"max{f' by ({by})' if by else ''} ({here(_selector(metric, labels), process)})"


def rate(metric: str, by: str = "", labels: str = "", process: str = "", window: str = WINDOW) -> str:
    """Of a counter, for each second."""
    inner = here(f"rate({_selector(metric, labels)}[{window}])", process)
    return f"sum{f' by ({by})' if by else ''} ({inner})"


def quantile(q: float, metric: str, by: str = "", labels: str = "", process: str = "", window: str = WINDOW) -> str:
    """Of a histogram."""
    inner = here(f"rate({_selector(metric + '_bucket', labels)}[{window}])", process)
    return f"histogram_quantile({q}, sum by (le{f', {by}' if by else ''}) ({inner}))"


# ---- panels ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Query:
    """One query of a panel; `legend` names its lines."""

    expression: str
    legend: str = ""
    exemplars: bool = False
    """Show points that lead to traces."""


@dataclass(frozen=True)
class Panel:
    """One panel. `steps`: (from this value on, colour) above green."""

    title: str
    description: str
    queries: tuple[Query, ...] = ()
    kind: str = "timeseries"
    unit: str = "short"
    steps: tuple[tuple[float, str], ...] = ()
    width: int = 8
    height: int = 7
    lowest: str = "green"
    texts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Of a value: (text, colour)."""
    stacked: bool = False
    decimals: int | None = None
    extra: Json = field(default_factory=dict)
    """Fields of a kind of panel that has its own."""

    def json(self, number: int, x: int, y: int) -> Json:
        ends = [{"color": self.lowest, "value": None}, *({"color": colour, "value": at} for at, colour in self.steps)]
        defaults: Json = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": ends}, "noValue": "none"}
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        if self.texts:
            options: Json = {value: {"text": text, "color": colour} for value, (text, colour) in self.texts.items()}
            defaults["mappings"] = [{"type": "value", "options": options}]
        if self.kind == "timeseries":
            defaults["min"] = 0
            defaults["custom"] = {
                "lineWidth": 1,
                "fillOpacity": 30 if self.stacked else 8,
                "showPoints": "never",
                "spanNulls": True,
                "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if self.steps else "off"},
            }
        panel: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": PROMETHEUS,
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "targets": [
                {
                    "refId": chr(ord("A") + place),
                    "datasource": PROMETHEUS,
                    "expr": query.expression,
                    "legendFormat": query.legend or "__auto",
                    "exemplar": query.exemplars,
                    "range": self.kind == "timeseries",
                    "instant": self.kind != "timeseries",
                    **({"format": "table"} if self.kind == "table" else {}),
                }
                for place, query in enumerate(self.queries)
            ],
            "options": _OPTIONS.get(self.kind, {}),
        }
        return panel | self.extra


_OPTIONS: Final[dict[str, Json]] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "textMode": "auto",
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}


def text(title: str, markdown: str, width: int = 24, height: int = 4) -> Panel:
    options: Json = {"options": {"mode": "markdown", "content": markdown}, "targets": []}
    return Panel(title, "", kind="text", width=width, height=height, extra=options)


@dataclass(frozen=True)
class Row:
    """A heading with its panels, from left to right."""

    title: str
    panels: tuple[Panel, ...]


# ---- pages -----------------------------------------------------------------------------------------------------------


def choice(name: str, label: str, query: str) -> Json:
    """A variable with the values that Prometheus knows; at first all of them, and those without the label."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"], "selected": True},
        "options": [],
    }


def words(name: str, label: str, default: str, description: str = "") -> Json:
    """A variable that a person types."""
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "textbox",
        "query": default,
        "current": {"text": default, "value": default, "selected": True},
        "options": [{"text": default, "value": default, "selected": True}],
    }


REGION: Final = choice("region", "Region", "label_values(antiphon_process_info, region)")
CONSOLE: Final = words("console", "Console", "http://127.0.0.1:8080/console", "Where this machine's page /console is.")
TRACES: Final = words("jaeger", "Jaeger", "http://127.0.0.1:16686", "Where Jaeger is.")


def dashboard(name: str, title: str, description: str, variables: list[Json], rows: list[Row]) -> Json:
    """The page as Grafana stores it. Panels fill lines of 24 columns."""
    panels: list[Json] = []
    y = 0
    for row in rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }
        )
        y += 1
        x = line = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, line = 0, y + line, 0
            panels.append(panel.json(len(panels) + 1, x, y))
            x, line = x + panel.width, max(line, panel.height)
        y += line
    return {
        "uid": f"antiphon-{name}",
        "title": f"Antiphon: {title}",
        "description": description,
        "tags": ["antiphon"],
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables},
        "annotations": {"list": [_CHANGES]},
        "links": [
            {
                "type": "dashboards",
                "title": "Antiphon",
                "tags": ["antiphon"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "icon": "",
                "url": "",
                "targetBlank": False,
                "tooltip": "",
            },
            {
                "type": "link",
                "title": "Console",
                "url": "${console}",
                "icon": "external link",
                "targetBlank": True,
                "asDropdown": False,
                "includeVars": False,
                "keepTime": False,
                "tags": [],
                "tooltip": "Live and ended calls, one by one",
            },
        ],
        "panels": panels,
    }


STARTS: Final = "changes(antiphon_process_start_time_seconds[1m]) > 0"
_CHANGES: Final[Json] = {
    "name": "Restarts",
    "datasource": PROMETHEUS,
    "enable": True,
    "iconColor": "orange",
    "expr": STARTS,
    "titleFormat": "{{job}} started again",
    "textFormat": "{{instance}}",
    "step": "30s",
}
