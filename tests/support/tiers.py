"""The tier of each test: what the test may use, how long it may take, and on which loop its coroutine runs.

`tests/conftest.py` registers this module as a plugin. CONTRIBUTING.md has the table of the tiers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from typing import Final

import pytest
from support.net.emulator import VirtualLoop

LIMITS: Final[Mapping[str, float]] = {"pure": 15, "virtual": 30, "process": 60, "realtime": 240}
"""Seconds for each tier: how long one test may take, set-up and tear-down included.

A pure test takes 3 s at most where it has a processor. Three of them share two, and a virtual machine may have a third
of its time taken away.
"""
MODELS_LIMIT: Final = 240.0
"""Seconds for a test that loads speech models."""


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A test without one tier is an error of its module's collection, which ends the run before its first test."""
    report = yield
    items = [item for item in report.result or () if isinstance(item, pytest.Item)]
    if problems := dict.fromkeys(problem for item in items if (problem := _problem(item))):
        report.outcome, report.longrepr, report.result = "failed", "\n".join(problems), []
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test without a time limit of its own has that of its tier."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_limit(_tier(item), item)))


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Coroutine tests of the tier `virtual`, and their fixtures, run in virtual time."""
    return {"loop": VirtualLoop if item.get_closest_marker("virtual") else asyncio.new_event_loop}


def _tier(item: pytest.Item) -> pytest.Mark:
    return next(mark for mark in item.iter_markers() if mark.name in LIMITS)


def _limit(tier: pytest.Mark, item: pytest.Item) -> float:
    usual = MODELS_LIMIT if item.get_closest_marker("models") else LIMITS[tier.name]
    return float(tier.kwargs.get("timeout", usual))


def _problem(item: pytest.Item) -> str:
    name = item.nodeid.partition("[")[0]
    tiers = [mark for mark in item.iter_markers() if mark.name in LIMITS]
    if len(tiers) != 1:
        found = " and ".join(mark.name for mark in tiers) or "none"
        return f"{name} needs one marker of {', '.join(LIMITS)}, and has {found}: see CONTRIBUTING.md"
    (tier,) = tiers
    if "timeout" in tier.kwargs and not tier.kwargs.get("reason"):
        changed = f"{tier.name}(timeout={tier.kwargs['timeout']})"
        return f"{name}: {changed} changes the limit of its tier and needs a reason=..."
    own = item.get_closest_marker("timeout")
    if own is not None and own.args[0] > _limit(tier, item):
        return (
            f"{name}: timeout({own.args[0]}) is above {_limit(tier, item):g} s, the limit of its tier; "
            f"lower it, or write {tier.name}(timeout={own.args[0]}, reason=...)"
        )
    return ""
