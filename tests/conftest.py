"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support.processes.nats import nats_server
from support.steadiness import (  # noqa: F401 - pytest finds its hooks here
    pytest_report_teststatus,
    pytest_runtest_protocol,
    pytest_terminal_summary,
)

# No time limits per example: a machine that is busy with something else makes no input wrong.
settings.register_profile("antiphon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("antiphon")


@pytest.fixture
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A NATS server of this test's own."""
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url
