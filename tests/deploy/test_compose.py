"""compose.yaml as a file: what it passes on, and what it reaches. `make compose-test` runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon.inference_bridge.settings import Settings

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]
DECIDED_BY_COMPOSE = {"ANTIPHON_NATS_URL", "ANTIPHON_NATS_CREDENTIALS", "ANTIPHON_CACHE_DIR"}
NO_TLS_INSIDE = {"ANTIPHON_NATS_TLS_CA", "ANTIPHON_NATS_TLS_CERT", "ANTIPHON_NATS_TLS_KEY"}


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())["services"]
    return found


def test_every_setting_of_the_bridge_is_passed_on_and_keeps_its_default() -> None:
    environment = services("compose.yaml")["inference-bridge"]["environment"]
    variables = {f"ANTIPHON_{name.upper()}" for name in Settings.model_fields} - DECIDED_BY_COMPOSE - NO_TLS_INSIDE
    assert variables - environment.keys() == set()
    assert {environment[variable] for variable in variables} == {None}, "as it is set outside, or not at all"


def test_each_container_sees_its_own_nats_credential_alone() -> None:
    found = services("compose.yaml")
    written = dict(volume.split(":", 1) for volume in found["credentials"]["volumes"])
    mounted = {
        name: [each.split(":")[0] for each in service.get("volumes", []) if each.split(":")[0] in written]
        for name, service in found.items()
        if name != "credentials"
    }
    assert mounted == {
        "nats": ["nats-users"],
        "keys": [],
        "setup": ["nats-setup"],
        "relay": ["nats-relay"],
        "transceiver": ["nats-transceiver"],
        "signaling": ["nats-signaling"],
        "inference-bridge": ["nats-bridge"],
    }
    for name, service in found.items():
        assert all(each.endswith(":ro") for each in service.get("volumes", []) if "/credentials" in each) or (
            name == "credentials"
        )


def test_the_bridge_reaches_a_model_server_on_the_host() -> None:
    assert services("compose.yaml")["inference-bridge"]["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_the_one_command_for_traces_starts_their_receiver_and_has_every_service_send_there() -> None:
    (command,) = {
        line.split("#")[0].strip(" $")
        for line in (ROOT / "README.md").read_text().splitlines()
        if "docker compose" in line and "Jaeger" in line
    }
    assert command == "docker compose -f compose.yaml -f compose.tracing.yaml up --build"
    traced = services("compose.tracing.yaml")
    assert "jaeger" in traced
    assert traced["jaeger"]["networks"] == ["antiphon"], "where the others find it by its name"
    for name, service in services("compose.yaml").items():
        if "OTEL_EXPORTER_OTLP_ENDPOINT" in service.get("environment", {}):
            assert traced[name]["environment"] == {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4318"}


@pytest.mark.parametrize("path", ["keys/route", "keys/password", ".env"])
def test_secrets_are_not_for_git(path: str) -> None:
    ignored = (ROOT / ".gitignore").read_text().split()
    assert path in ignored or f"{path.partition('/')[0]}/" in ignored


def test_no_text_recommends_a_package_name_that_is_not_ours() -> None:
    """Antiphon is on no package index, and whoever takes the name there is somebody else."""
    suspicious = ("install antiphon", "install 'antiphon", 'install "antiphon', "install -U antiphon")
    kinds = {".md", ".py", ".js", ".html", ".yaml", ".sh"}
    ours = [
        path
        for name in ("docs", "services", "sdk", "cli", "schemas", "examples", "deploy")
        for path in (ROOT / name).rglob("*")
    ]
    for path in (*ROOT.glob("*"), *ours):
        if path.suffix in kinds:
            assert not [each for each in suspicious if each in path.read_text()], path
