"""The report as a picture: a map of people and sites, and the distribution of delays. No display is needed.

No outlines of land are drawn: cities by their population show them, and no further data has a licence to name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from antiphon.cli.errors import UsageError
from antiphon.cli.world.model import Plan
from antiphon.cli.world.people import SOURCE
from antiphon.cli.world.shares import LIMITS_MS, share_within

FORMATS: Final = (".png", ".svg", ".pdf")
SITE: Final = "#b3202a"


def require_writable(file: Path) -> None:
    """UsageError if the picture can't be written there; before seconds are spent on it."""
    if file.suffix.lower() not in FORMATS:
        raise UsageError(f"--plot {file}: the name has to end in one of {', '.join(FORMATS)}")
    if file.is_dir():
        raise UsageError(f"--plot {file}: is a directory; name a file")
    existed = file.exists()
    try:
        with file.open("ab"):
            pass
        if not existed:
            file.unlink()
    except OSError as error:
        raise UsageError(f"--plot {file}: cannot be written: {error.strerror}") from None


def draw(planned: Plan, file: Path) -> None:
    """Write it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    best = planned.round_trips.min(axis=1)
    weight = planned.people.share
    figure = Figure(figsize=(12, 8.6), layout="constrained")
    FigureCanvasAgg(figure)
    world, curve = figure.subplots(2, 1, height_ratios=[2.1, 1])

    points = world.scatter(
        planned.people.longitudes,
        planned.people.latitudes,
        s=np.sqrt(planned.people.population) / 300,
        c=best,
        cmap="viridis_r",
        vmin=10,
        vmax=120,
        linewidths=0,
        alpha=0.75,
    )
    figure.colorbar(points, ax=world, label="round trip to the first hop, ms", extend="max", pad=0.01)
    for column, site in enumerate(planned.sites):
        marker = "s" if column in planned.clusters else "^"
        world.plot(site.longitude, site.latitude, marker, color=SITE, markersize=8, markeredgecolor="white")
        world.annotate(
            site.place,
            (site.longitude, site.latitude),
            xytext=(6, 6),
            textcoords="offset points",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
        )
    world.set(xlim=(-180, 180), ylim=(-58, 75), xticks=[], yticks=[], aspect=1.25)
    world.set_title(f"{len(planned.sites)} sites; squares have a cluster, triangles are ingresses only", fontsize=11)

    order = np.argsort(best)
    reached = 100 * np.cumsum(weight[order])
    curve.plot(best[order], reached, color="#30588c")
    for limit in LIMITS_MS:
        share = 100 * share_within(best, weight, limit)
        curve.plot([limit, limit], [0, share], color="grey", linewidth=0.8, linestyle=":")
        curve.annotate(f"{share:.1f} %", (limit, share), xytext=(4, -11), textcoords="offset points", fontsize=9)
    curve.set(xlim=(0, max(150.0, float(best[order][np.searchsorted(reached, 99.0)]))), ylim=(0, 104))
    curve.set(xlabel="round trip to the first hop, ms (model)", ylabel="people, %")
    curve.grid(alpha=0.25)
    figure.supxlabel(f"Data: {SOURCE}", fontsize=8, color="grey")
    try:
        figure.savefig(file, dpi=110)
    except OSError as error:
        raise UsageError(f"--plot {file}: cannot be written: {error.strerror}") from None
