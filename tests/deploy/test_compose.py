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


@pytest.mark.parametrize(
    ("service", "variables"),
    [
        ("relay", {"ANTIPHON_RELAY_REGION", "ANTIPHON_RELAY_PLACE"}),
        ("transceiver", {"ANTIPHON_REGION", "ANTIPHON_PLACE"}),
        ("signaling", {"ANTIPHON_REGION", "ANTIPHON_PLACE_HEADERS"}),
    ],
)
def test_where_the_stack_stands_is_passed_on(service: str, variables: set[str]) -> None:
    environment = services("compose.yaml")[service]["environment"]
    assert {environment.get(variable, "missing") for variable in variables} == {None}


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
        "signaling": ["nats-signaling", "nats-websocket"],
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
    assert traced["jaeger"]["networks"] == ["bus", "traces"], "where the others find it by its name"
    for name, service in services("compose.yaml").items():
        if "OTEL_EXPORTER_OTLP_ENDPOINT" in service.get("environment", {}):
            assert traced[name]["environment"] == {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4318"}


WRITE_KEYS = ("keys", "credentials")
"""Run once, and give what they write to the users of the other containers."""


def everything() -> dict[str, Any]:
    """Each service of both files that is a container of its own, with what is merged into it."""
    both = services("compose.yaml") | services("compose.tracing.yaml")
    return {name: service for name, service in both.items() if "image" in service} | services("compose.yaml")


@pytest.mark.parametrize("name", everything())
def test_every_container_is_confined(name: str) -> None:
    service = everything()[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert 0 < service["pids_limit"] <= 512
    assert service["mem_limit"]
    assert "cpus" in service or "cpu_shares" in service
    assert "privileged" not in service
    assert service.get("network_mode", "none") == "none", "never the network of the host"
    assert not [volume for volume in service.get("volumes", ()) if "docker.sock" in volume]
    if name not in WRITE_KEYS:
        assert "cap_add" not in service
        assert service["tmpfs"][0].startswith("/tmp:"), "which is all that it can write to"


@pytest.mark.parametrize("name", WRITE_KEYS)
def test_a_container_that_writes_keys_has_what_a_change_of_owner_needs_and_no_network(name: str) -> None:
    service = services("compose.yaml")[name]
    assert service["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
    assert service["network_mode"] == "none"


@pytest.mark.parametrize("name", [name for name in everything() if name not in WRITE_KEYS])
def test_no_container_runs_as_root(name: str) -> None:
    service = everything()[name]
    if "build" in service:
        assert "\nUSER 10001:10001\n" in (ROOT / "Dockerfile").read_text().rpartition("FROM ")[2]
        assert service.get("user") is None
    else:
        assert service["user"] == "10001:10001"


def test_every_container_that_stays_tells_whether_it_is_well() -> None:
    own = (ROOT / "Dockerfile").read_text().rpartition("FROM ")[2]
    for name, service in services("compose.yaml").items():
        if service["restart"] != "no":
            assert "healthcheck" in service or ("build" in service and "HEALTHCHECK" in own), name


def test_only_what_clients_need_is_published_and_the_bus_leads_nowhere() -> None:
    published = {name: service["ports"] for name, service in services("compose.yaml").items() if "ports" in service}
    assert published == {"relay": ["3478:3478/udp"], "signaling": ["127.0.0.1:8080:8080"]}
    networks = yaml.safe_load((ROOT / "compose.yaml").read_text())["networks"]
    assert networks["bus"] == {"internal": True}
    of = {name: set(service.get("networks", ())) for name, service in services("compose.yaml").items()}
    assert of["nats"] == of["transceiver"] == {"bus"}, "nothing from outside, and nothing to it"
    assert of["relay"] & of["signaling"] == {"bus"}
    assert of["relay"] == {"bus", "public"}
    assert of["signaling"] == {"bus", "web"}
    assert of["inference-bridge"] == {"bus", "models"}


def test_base_images_are_named_once_each_and_can_be_pinned() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    bases = [line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")]
    assert set(bases) == {"${PYTHON_IMAGE}"}
    composed = "".join((ROOT / name).read_text() for name in ("compose.yaml", "compose.tracing.yaml"))
    default = composed.partition("${ANTIPHON_PYTHON_IMAGE:-")[2].partition("}")[0]
    assert f"ARG PYTHON_IMAGE={default}\n" in dockerfile
    for service in everything().values():
        if "build" not in service:
            assert service["image"].startswith("${ANTIPHON_"), service["image"]
            assert "latest" not in service["image"]


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
