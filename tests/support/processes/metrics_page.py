"""The page of metrics of a process, read by Prometheus' own parser."""

from __future__ import annotations

import asyncio

from nats.aio.client import Client
from prometheus_client.parser import text_string_to_metric_families

from antiphon.runtime.nats import service_discovery

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class MetricsPage:
    """The samples of one scrape."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def value(self, name: str, **labels: str) -> float:
        """Of this sample; 0 if there is none."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)


async def scraped(address: str) -> MetricsPage:
    """What is served at `ip:port`."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
    assert head.startswith("HTTP/1.1 200 OK"), head
    return MetricsPage(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }
    )


async def pages_of(client: Client, service: str) -> list[MetricsPage]:
    """Of all processes that the services register knows under this name."""
    found = await service_discovery.instances(client, service)
    return [await scraped(each["metrics"]) for each in found if "metrics" in each]
