"""The dashboards, one module each; `PAGES` has them by file name."""

from __future__ import annotations

from typing import Final

from pages import agents, call, fleet, models, relay, transceiver
from panels import Json

PAGES: Final[dict[str, Json]] = {
    "fleet": fleet.PAGE,
    "call": call.PAGE,
    "relay": relay.PAGE,
    "transceiver": transceiver.PAGE,
    "agents": agents.PAGE,
    "models": models.PAGE,
}
