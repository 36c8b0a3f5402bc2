"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.nats import nats_server


@pytest.fixture
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A NATS server of this test's own."""
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url
