"""Fixtures that every test may use, and the project's two plugins: tiers and steadiness."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support import tiers
from support.processes.nats import nats_server
from support.steadiness import Steadiness

# No time limits per example: a machine that is busy with something else makes no input wrong.
settings.register_profile("antiphon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", settings.get_profile("antiphon"), max_examples=20)
settings.load_profile(os.environ.get("ANTIPHON_TEST_PROFILE", "antiphon"))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(tiers, "tiers")
    run = getattr(config, "workerinput", {}).get("testrunuid") or uuid.uuid4().hex  # workers of xdist share one
    config.pluginmanager.register(Steadiness(config.rootpath / ".reports", run), "steadiness")


@pytest.fixture
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A NATS server of this test's own."""
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url
