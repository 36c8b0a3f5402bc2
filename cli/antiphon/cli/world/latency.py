"""How long a packet takes there and back, by distance. Pure.

Light in fibre, times what real paths are longer and slower than the great circle, plus the caller's last mile. The
inflation is that of 1,062 pairs of Azure's regions: `measured_inflation` computes it from the published matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from antiphon.cli.world.earth import Floats

FIBRE_KM_PER_MS: Final = 204.0
"""Light in glass with the refractive index 1.47."""
INFLATION: Final = (1.40, 1.79, 2.72)
"""p10, p50, p90 of the measured pairs (`antiphon world --latencies` computes them)."""
LAST_MILE_MS: Final = 12.0
"""Assumed for a home or mobile access, there and back."""
RELAY_MS: Final = 0.4
"""A relay more, there and back: at most 0.2 ms p50 each way is what the second hop may add."""


@dataclass(frozen=True)
class LatencyModel:
    """The two numbers that a run may change."""

    inflation: float = INFLATION[1]
    last_mile_ms: float = LAST_MILE_MS

    def between(self, distances_km: Floats) -> Floats:
        """Round trips in ms between hosts."""
        return 2 * distances_km / FIBRE_KM_PER_MS * self.inflation

    def from_caller(self, distances_km: Floats) -> Floats:
        """Round trips in ms between callers and hosts."""
        return self.between(distances_km) + self.last_mile_ms
