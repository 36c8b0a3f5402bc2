"""Where metrics are shown: `ANTIPHON_METRICS_BIND`, and the standard variables of OpenTelemetry."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

from antiphon.runtime.metrics.table import Service
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.errors import MalformedError

VARIABLE: Final = "ANTIPHON_METRICS_BIND"
BAD_SETTINGS: Final = 2
"""Exit status of a process whose settings can't be used."""
PORTS: Final[dict[Service, int]] = {
    "relay": 9470,
    "transceiver": 9480,
    "signaling": 9490,
    "inference-bridge": 9500,
    "worker": 9510,
    "agent": 9510,
}
"""The first that is tried on loopback, where the setting does not say another."""
TRIED: Final = 10
"""The port and those behind it, until one is free: several processes of a service are on one machine."""


class MetricsSettings(NamedTuple):
    """Read once, by `load`."""

    bind: Address | None
    """None: no page is served."""
    otlp: bool
    """A collector's address is set."""

    @property
    def on(self) -> bool:
        """Metrics are shown at all."""
        return self.bind is not None or self.otlp


NOWHERE: Final = MetricsSettings(None, False)
"""Metrics are off."""


def load(service: Service, environment: Mapping[str, str] = os.environ) -> MetricsSettings:
    """ValueError, which names the variable, for an address that can't be one."""
    otlp = any(environment.get(f"OTEL_EXPORTER_OTLP_{each}ENDPOINT") for each in ("", "METRICS_"))
    text = environment.get(VARIABLE, "").strip()
    if text.lower() == "off":
        return MetricsSettings(None, otlp)
    try:
        bind = _address(text) if text else Address("127.0.0.1", PORTS[service])
    except MalformedError:
        raise ValueError(f"{VARIABLE} is {text!r:.80}: expected ip:port such as 127.0.0.1:9480, or off") from None
    return MetricsSettings(bind, otlp)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    if port == "0":  # the system picks one
        return parse_address(f"{host}:1")._replace(port=0)
    return parse_address(f"{host}:{port}")


def load_or_exit(service: Service) -> MetricsSettings:
    """As `load`; ends the process with one line and status 2 for a setting that can't be used."""
    try:
        return load(service)
    except ValueError as error:
        print(f"antiphon-{service}: {error}", file=sys.stderr)
        sys.exit(BAD_SETTINGS)
