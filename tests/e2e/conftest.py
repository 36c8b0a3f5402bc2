"""One running stack for all end-to-end tests: starting it loads the models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.processes.stack import ECHO_AGENT, Stack, running_stack

from antiphon.bench._lib.otlp import OtlpReceiver, otlp_receiver


@pytest.fixture(scope="session")
def otlp() -> Iterator[OtlpReceiver]:
    """Where the stack of these tests sends its spans."""
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def stack(otlp: OtlpReceiver) -> Iterator[Stack]:
    """The whole stack with the echo agent beside the built-in one."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url}
    with running_stack("--loopback-only", "--plugin", str(ECHO_AGENT), environment=environment) as running:
        yield running
