"""The Helm chart as files: values against their schema, what it shares with the rest. `make k8s-test` installs it."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest
import yaml

from antiphon.runtime.nats.users import stack_users

pytestmark = pytest.mark.pure

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy" / "helm" / "antiphon"
EXAMPLES: Final = sorted((CHART / "examples").glob("*.yaml"))
SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: Final = yaml.safe_load((CHART / "values.yaml").read_text())


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """As helm does."""
    found = copy.deepcopy(values)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = merged(found[name], value) if both else value
    return found


def errors(values: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema_rs.validator_for(SCHEMA).iter_errors(values)]


def templates() -> str:
    return "\n".join(file.read_text() for file in sorted((CHART / "templates").iterdir()))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_valid_and_names_only_values_that_there_are(example: Path) -> None:
    values = yaml.safe_load(example.read_text())
    assert errors(values) == []
    assert errors(merged(DEFAULTS, values)) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"relays": {}}, "relays"),
        ({"relay": {"replica": 3}}, "replica"),
        ({"image": {"tag": "latest"}}, "latest"),
        ({"publicAddress": "voice.example.net"}, "voice.example.net"),
        ({"relay": {"kind": "StatefulSet"}}, "StatefulSet"),
        ({"relay": {"publicAddresses": ["198.51.100.7"]}}, "198.51.100.7"),
        ({"relay": {"env": {"ANTIPHON_RELAY_NEW_FLOWS": 200}}}, "200"),
        ({"relay": {"drainSeconds": 60}}, "60"),
        ({"transceiver": {"drainSeconds": 30}}, "30"),
        ({"region": {"place": "Frankfurt"}}, "Frankfurt"),
        ({"workers": [{"name": "a"}]}, "kind"),
        ({"agents": [{"name": "a"}]}, "image"),
        ({"agents": [{"name": "a b", "image": "a:1"}]}, "a b"),
        ({"agents": [{"name": "a", "image": "a:latest"}]}, "a:latest"),
        ({"bridge": {"demo": True}}, "demo"),
        ({"transceiver": {"maxSurge": "all"}}, "all"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, Any], said: str) -> None:
    (error,) = errors(merged(DEFAULTS, wrong))
    assert said in error


def _names(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{path}.{name}".lstrip(".")
        if isinstance(value, dict):
            yield from _names(value, f"{path}.{name}")


def test_every_value_that_the_schema_knows_has_a_default() -> None:
    def known(schema: dict[str, Any], path: str = "") -> Iterator[str]:
        for name, value in schema.get("properties", {}).items():
            if f"{path}.{name}".endswith(("resources.requests", "resources.limits", "resources.claims")):
                continue
            yield f"{path}.{name}".lstrip(".")
            yield from known(value, f"{path}.{name}")

    assert set(known(SCHEMA)) - {"global"} - set(_names(DEFAULTS)) == set()


def test_the_chart_has_the_version_of_the_stack() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["version"] == chart["appVersion"] == project["version"]


def test_the_nats_server_has_the_settings_of_all_others() -> None:
    def settings(file: Path) -> list[str]:
        return [line for line in file.read_text().splitlines() if re.match("[a-z]+_", line)]

    assert settings(CHART / "files" / "nats.conf") == settings(ROOT / "cli" / "antiphon" / "cli" / "nats.conf")


def test_the_job_may_write_the_secret_of_every_user() -> None:
    named = (CHART / "templates" / "credentials.yaml").read_text()
    for user in stack_users(["*"]):
        title = user.title.replace("-concierge", "-%s")
        assert f'"{title}"' in named or title == "transceiver", f"{user.title} is no resourceName of the role"


def test_every_variable_that_the_chart_sets_is_documented() -> None:
    said = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    for variable in set(re.findall(r"ANTIPHON_[A-Z_]+", templates())):
        assert variable in said or variable.replace("ANTIPHON_", "_") in said, variable


def test_no_container_may_gain_a_right_or_write_to_its_image() -> None:
    text = templates()
    containers = len(re.findall(r"^ +image: ", text, re.MULTILINE)) + 1  # that of bridge and worker stands alone
    secured = len(re.findall(r'include "antiphon.containerSecurity"', text))
    assert secured == containers
    workloads = re.findall(r"^kind: (?:Deployment|StatefulSet|Job|\{\{ \$relay.kind \}\})$", text, re.MULTILINE)
    assert len(re.findall(r'include "antiphon.podSettings"', text)) == len(workloads)
