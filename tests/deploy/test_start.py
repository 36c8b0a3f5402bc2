"""`deploy/start.sh`: a container sends traces only where the profile `observe` has started the collector."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def start(tmp_path: Path, *arguments: str, **environment: str) -> str:
    """The endpoint that deploy/start.sh gives a module; `found` in `environment` is what the name server knows."""
    known = environment.pop("found", "")
    for name, text in {
        "getent": f'[ "$2" = "{known}" ]',
        "python": 'echo "${OTEL_EXPORTER_OTLP_ENDPOINT:-${OTEL_EXPORTER_OTLP_TRACES_ENDPOINT:-off}}" "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "deploy" / "start.sh"), "antiphon.relay", *arguments],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


COLLECTOR = {"ANTIPHON_COLLECTOR": "http://collector.:4318", "found": "collector."}


def test_a_service_sends_traces_where_the_collector_has_an_address_and_makes_none_elsewhere(tmp_path: Path) -> None:
    assert start(tmp_path, "--x", **COLLECTOR) == f"{COLLECTOR['ANTIPHON_COLLECTOR']}/v1/traces -m antiphon.relay --x"
    assert start(tmp_path, **COLLECTOR | {"found": ""}) == "off -m antiphon.relay"
    assert start(tmp_path, found="collector.") == "off -m antiphon.relay"
    assert (
        start(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://mine:4318", **COLLECTOR)
        == "http://mine:4318 -m antiphon.relay"
    )
    assert start(tmp_path, "--check", **COLLECTOR) == "off -m antiphon.relay --check", "a health check asks for nothing"
