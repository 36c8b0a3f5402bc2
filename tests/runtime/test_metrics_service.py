"""Metrics of a running service: the page over real sockets, OTLP to a real receiver."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest
from support.conditions import until

from antiphon.bench._lib.otlp import otlp_receiver
from antiphon.runtime.metrics import MetricsService
from antiphon.runtime.metrics.settings import TRIED, MetricsSettings
from antiphon.schemas.addresses import Address

pytestmark = pytest.mark.process
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


def taken(count: int) -> tuple[int, list[socket.socket]]:
    """So many ports in a row that others have."""
    while True:
        sockets = [socket.create_server(("127.0.0.1", 0))]
        first = sockets[0].getsockname()[1]
        try:
            sockets += [socket.create_server(("127.0.0.1", first + n)) for n in range(1, count)]
            return first, sockets
        except (OSError, OverflowError):
            for each in sockets:
                each.close()


async def fetch(address: str) -> str:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


async def test_a_process_whose_port_is_taken_serves_on_the_next_free_one() -> None:
    first, sockets = taken(1)
    services = [MetricsService("agent", MetricsSettings(Address("127.0.0.1", first), False)) for _ in range(2)]
    for service in services:
        await service.start()
    ports = [int(service.address.rpartition(":")[2]) for service in services]
    assert first < ports[0] < ports[1] < first + TRIED
    assert 'antiphon_process_info{name="",region="",service="agent"' in await fetch(services[1].address)
    for service in services:
        await service.close()
    for each in sockets:
        each.close()


async def test_a_service_without_a_free_port_or_with_a_foreign_address_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, sockets = taken(TRIED)
    for bind in (Address("127.0.0.1", first), Address("192.0.2.1", 9480)):
        service = MetricsService("agent", MetricsSettings(bind, False))
        await service.start()
        assert service.metadata() == {}
        await service.close()
    for each in sockets:
        each.close()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["are taken" in warnings[0], "can't be bound" in warnings[1]] == [True, True]


async def test_a_collector_gets_the_same_metrics_with_exemplars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    with otlp_receiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        service = MetricsService("transceiver", MetricsSettings(None, True))
        await service.start()
        service.metrics.add("antiphon_call_refused_total", code="full")
        service.metrics.observe("antiphon_turn_latency_seconds", 0.6, trace=TRACE)
        await until(lambda: len(receiver.metrics) > 1)
        service.metrics.add("antiphon_call_refused_total", code="full")
        await service.close()  # sends the last ones
    resource = receiver.metrics[-1].resource_metrics[0]
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == "antiphon-transceiver"
    sent = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    (refused,) = sent["antiphon_call_refused_total"].sum.data_points
    assert (refused.as_double, refused.attributes[0].value.string_value) == (2, "full")
    assert sent["antiphon_call_refused_total"].sum.is_monotonic
    latency = sent["antiphon_turn_latency_seconds"]
    (point,) = latency.histogram.data_points
    assert latency.unit == "s"
    assert (point.count, point.sum, len(point.bucket_counts)) == (1, 0.6, len(point.explicit_bounds) + 1)
    assert (point.exemplars[0].trace_id.hex(), point.exemplars[0].as_double) == ("a" * 32, 0.6)
    assert sent["antiphon_process_resident_bytes"].gauge.data_points[0].as_double > 1e6


async def test_a_collector_that_is_gone_is_said_once_and_delays_no_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    service = MetricsService("transceiver", MetricsSettings(None, True))
    await service.start()
    await until(lambda: any("can't be sent" in record.getMessage() for record in caplog.records))
    async with asyncio.timeout(3):
        await service.close()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
