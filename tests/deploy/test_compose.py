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
        ("signaling", {"ANTIPHON_REGION", "ANTIPHON_REGION_URLS", "ANTIPHON_PLACE_HEADERS"}),
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
        "clinic": ["nats-clinic"],
    } | {name: [] for name in OBSERVERS}
    for name, service in found.items():
        assert all(each.endswith(":ro") for each in service.get("volumes", []) if "/credentials" in each) or (
            name == "credentials"
        )


def test_the_bridge_reaches_a_model_server_on_the_host() -> None:
    assert services("compose.yaml")["inference-bridge"]["extra_hosts"] == ["host.docker.internal:host-gateway"]


OBSERVERS = {"collector", "jaeger", "prometheus", "grafana"}
"""What the profile `observe` starts."""
METRICS_PORTS = {"relay": 9470, "transceiver": 9480, "signaling": 9490, "inference-bridge": 9500}


def test_nothing_of_the_profile_observe_runs_without_it_and_nothing_needs_it() -> None:
    found = services("compose.yaml")
    assert {name for name, service in found.items() if service.get("profiles")} == OBSERVERS
    for name, service in found.items():
        needed = service.get("depends_on", {})
        assert {each for each in needed if needed[each].get("required", True)} & OBSERVERS == set(), name
        if "ANTIPHON_COLLECTOR" in service.get("environment", {}):
            assert "collector" in needed, "a service looks for the collector once, when it starts"


def test_the_one_command_for_traces_and_metrics_is_in_the_readme() -> None:
    (command,) = {
        line.split("#")[0].strip(" $")
        for line in (ROOT / "README.md").read_text().splitlines()
        if "docker compose" in line and "Grafana" in line
    }
    assert command == "docker compose --profile observe up --build"


def test_services_look_for_the_collector_by_the_name_that_it_has_on_the_bus() -> None:
    found = services("compose.yaml")
    named = {service["environment"].get("ANTIPHON_COLLECTOR") for service in found.values() if "environment" in service}
    assert named - {None} == {"http://collector.:4318"}
    assert set(found["collector"]["networks"]) == {"bus", "observe"}
    for name, service in found.items():
        if "ANTIPHON_COLLECTOR" in service.get("environment", {}):
            assert service["dns_opt"] == ["ndots:1"], f"{name} would wait for a name server outside, and tell it"


def test_the_collector_may_use_the_memory_that_its_configuration_counts_on() -> None:
    found = services("compose.yaml")["collector"]
    (file,) = [volume.split(":")[0] for volume in found["volumes"]]
    limiter = yaml.safe_load((ROOT / file).read_text())["processors"]["memory_limiter"]
    assert found["mem_limit"] == "1g"
    assert limiter["limit_mib"] < 1024


def test_prometheus_scrapes_every_address_of_every_service_where_it_serves_metrics() -> None:
    found = services("compose.yaml")
    jobs = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    scraped = {}
    for job in jobs:
        for each in job.get("dns_sd_configs", ()):
            assert (each["type"], each["names"]) == ("A", [job["job_name"]])
            scraped[job["job_name"]] = each["port"]
    assert scraped == METRICS_PORTS
    for name, port in METRICS_PORTS.items():
        assert found[name]["environment"]["ANTIPHON_METRICS_BIND"] == f"0.0.0.0:{port}"
        assert "bus" in set(found[name]["networks"]) & set(found["prometheus"]["networks"])


def test_the_pages_of_the_profile_observe_are_on_loopback_and_have_no_admin_of_a_known_password() -> None:
    found = services("compose.yaml")
    for name in OBSERVERS:
        assert all(each.startswith("127.0.0.1:") for each in found[name].get("ports", ())), name
    grafana = found["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert grafana["GF_SECURITY_ADMIN_PASSWORD"] == "${ANTIPHON_GRAFANA_PASSWORD:-}"
    assert "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION=true" in found["grafana"]["command"][0]
    assert not {"bus", "web", "public"} & (set(found["grafana"]["networks"]) | set(found["jaeger"]["networks"]))


@pytest.mark.parametrize("name", ["transceiver", "inference-bridge"])
def test_a_service_that_is_scaled_has_nothing_that_only_one_can_have(name: str) -> None:
    service = services("compose.yaml")[name]
    assert not {"ports", "container_name", "hostname"} & service.keys()
    assert "ANTIPHON_SLOT" not in service["environment"]
    assert all(each.endswith(":ro") for each in service["volumes"]), "no two write to one file"


WRITE_KEYS = ("keys", "credentials")
"""Run once, and give what they write to the users of the other containers."""


def everything() -> dict[str, Any]:
    """Each container, with what is merged into it."""
    return services("compose.yaml")


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
        assert int(service["user"].partition(":")[0]) > 0


WITHOUT_PROGRAMS = ("collector", "jaeger")
"""Their images hold one program and nothing to ask it with."""


def test_every_container_that_stays_tells_whether_it_is_well() -> None:
    own = (ROOT / "Dockerfile").read_text().rpartition("FROM ")[2]
    for name, service in services("compose.yaml").items():
        if service["restart"] != "no" and name not in WITHOUT_PROGRAMS:
            assert "healthcheck" in service or ("build" in service and "HEALTHCHECK" in own), name


def test_only_what_clients_need_is_published_and_the_bus_leads_nowhere() -> None:
    found = {name: service for name, service in services("compose.yaml").items() if name not in OBSERVERS}
    published = {name: service["ports"] for name, service in found.items() if "ports" in service}
    assert published == {"relay": ["3478:3478/udp"], "signaling": ["127.0.0.1:8080:8080"]}
    networks = yaml.safe_load((ROOT / "compose.yaml").read_text())["networks"]
    assert networks["bus"] == {"internal": True}
    of = {name: set(service.get("networks", ())) for name, service in found.items()}
    assert of["nats"] == of["transceiver"] == {"bus"}, "nothing from outside, and nothing to it"
    assert of["relay"] & of["signaling"] == {"bus"}
    assert of["relay"] == {"bus", "public"}
    assert of["signaling"] == {"bus", "web"}
    assert of["inference-bridge"] == {"bus", "models"}


def test_base_images_are_named_once_each_and_can_be_pinned() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    bases = [line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")]
    assert set(bases) == {"${PYTHON_IMAGE}"}
    composed = (ROOT / "compose.yaml").read_text()
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
