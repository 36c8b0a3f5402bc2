"""The control process: the relay's life from its start to its end. No packet passes here.

The worker pool is started before this is imported. Routes from NATS go to the workers. Where another relay process has
the port, this one binds it too once its workers know the other's clients. After SIGTERM the workers forward for a
while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from nats.js.client import JetStreamContext

from antiphon.relay.control.backbone_client import BackboneClient, BackboneTables
from antiphon.relay.control.ingress_number import STORE_SECONDS
from antiphon.relay.control.ipc import Hello, Keys, Routes, TagKeys
from antiphon.relay.control.metrics_http import MetricsHttp, RelayFigures, failing, health_pages
from antiphon.relay.control.nats_client import CLOSE_SECONDS, RelayNatsClient
from antiphon.relay.control.worker_pool import WorkerPool
from antiphon.relay.control.worker_supervisor import WorkerSupervisor
from antiphon.relay.counters import merged
from antiphon.relay.settings import RelaySettings, check_backbone_key
from antiphon.runtime.loop_watchdog import LoopWatchdog
from antiphon.runtime.metrics import MetricsService
from antiphon.runtime.metrics.settings import MetricsSettings
from antiphon.runtime.nats.hub import HubConnection, connect_hub
from antiphon.runtime.tasks import end
from antiphon.schemas.route_token import RouteKeyring

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 1.0
LOG_SECONDS: Final = 60.0
LEARN_SECONDS: Final = 1.5
"""From our first announcement until we bind a port that another process has: hellos are answered by then."""
ANNOUNCED_WITHIN_SECONDS: Final = 5.0
"""Without NATS the port is bound after this long: no more clients can be learned then."""
DRAIN_POLL_SECONDS: Final = 0.1
QUIET_SECONDS: Final = 0.3
"""Without a packet over the backbone: other relays have learned that this one drains, and left it."""
STAYS_SECONDS: Final = 3.0
"""At least, where calls are: a load balancer that looks once a second has seen by then that this relay ends."""
LEFT_SECONDS: Final = 1.5
"""Without a packet of any client: a load balancer sends them to others now, or they have moved by themselves."""
STANDSTILL_SECONDS: Final = 10.0
"""The workers forward without this process, and end with it: patience costs less than a needless restart."""


class Control:
    """One relay process: its parts, built from leaf to root, and its life from start to drain.

    `serve` makes it once per process; everything runs on the event loop of the control process.
    """

    def __init__(
        self, settings: RelaySettings, pool: WorkerPool, shown: MetricsSettings, stop_process: Callable[[], None]
    ) -> None:
        """`stop_process` does what SIGTERM does: an operator may ask for it over NATS."""
        self._settings = settings
        self._pool = pool
        self._supervisor = WorkerSupervisor(pool)
        self._hub: HubConnection | None = None
        if settings.hub is not None and settings.relay_backbone_bind is not None:
            self._hub = connect_hub(settings.hub, f"relay-{settings.relay_name}")
        jetstream = self._jetstream_of_hub if self._hub is not None else None
        self._backbone = BackboneClient(settings, pool.saved, jetstream, self._set_backbone)
        self._metrics = MetricsService(
            "relay",
            shown,
            region=settings.relay_region,
            name=settings.relay_name,
            lazy=True,
            shown_elsewhere=settings.relay_http_bind is not None,
        )
        self._nats = RelayNatsClient(
            settings,
            pool,
            self._supervisor,
            self._backbone,
            self._set_routes,
            stop_process,
            self._metrics.metadata,
        )
        RelayFigures(self._metrics.metrics, self._supervisor, self._nats, self._backbone)
        health = health_pages(self._supervisor, self._nats)
        self._metrics.started(partial(failing, self._supervisor, self._nats))
        self._http = MetricsHttp(settings, self._metrics.metrics, health)
        self._logged: dict[str, Any] = {}
        self._keys_changed = self._key_files()

    async def run(self, stop: asyncio.Event) -> None:
        """Forward and stay announced until `stop`, then drain; raises OSError if a port can't be bound."""
        try:
            await self._http.start()
            await self._metrics.start(lambda: self._nats.client)
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(each)
                    for each in (
                        self._supervisor.run(),
                        self._backbone.run(),
                        self._nats.run(),
                        self._take_port(),
                        self._watch(),
                    )
                ]
                await stop.wait()
                await self._drain()
                await end(*running)
        finally:
            self._http.close()
            await self._metrics.close()
            await self._nats.close()
            if self._hub is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await self._hub.close()
            self._pool.close()

    def _jetstream_of_hub(self) -> JetStreamContext | None:
        client = self._hub.client if self._hub is not None else None
        return client.jetstream(timeout=STORE_SECONDS) if client is not None else None

    def _set_routes(self, routes: Routes) -> None:
        self._pool.set_routes(routes)
        self._supervisor.send_to_all(routes)
        self._pool.write_state_file()

    def _set_backbone(self, tables: BackboneTables) -> None:
        self._pool.set_backbone(tables)
        for message in tables.messages():
            self._supervisor.send_to_all(message)
        self._pool.write_state_file()

    async def _take_port(self) -> None:
        """Where another process has the port: learn its clients first, then share it."""
        if not self._pool.port_is_taken:
            return
        log.info("another process has the port: taking over from it")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANNOUNCED_WITHIN_SECONDS):
                await self._nats.announced.wait()
            await asyncio.sleep(LEARN_SECONDS)
        self._pool.take_port()
        self._supervisor.hand_over()
        await self._nats.announce()  # from now on other relays send us what is for our clients
        self._supervisor.send_to_all(Hello())
        log.info("the port is bound beside the other process")
        while self._nats.other_process() is not None:  # noqa: ASYNC110  # time ends it, no event would
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        self._pool.stop_yielding_port()
        self._supervisor.send_to_all(Hello())  # clients may be spread in another way now
        log.info("the other process is gone")

    async def _watch(self) -> None:
        """Once a second: read changed keys, write the state file, and log the counters once a minute."""
        log_at = time.monotonic() + LOG_SECONDS
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            changed = self._key_files()
            if changed != self._keys_changed:
                self._keys_changed = changed
                self.read_keys()
            self._pool.write_state_file()
            if time.monotonic() >= log_at:
                log_at += LOG_SECONDS
                await self._log_statistics()

    def _key_files(self) -> list[tuple[int, int] | None]:
        """What changes when a key file does."""
        settings = self._settings
        return [
            _written(file) if given is None else None
            for given, file in (
                (settings.route_keys, settings.route_keys_file),
                (settings.backbone_key, settings.backbone_key_file),
            )
        ]

    def read_keys(self) -> None:
        """Rotate: the keys now in the files open new flows and backbone packets; running calls go on."""
        self._read_route_keys()
        self._read_backbone_keys()

    def _read_route_keys(self) -> None:
        try:
            text = self._settings.route_keys_text()
            RouteKeyring.from_text(text)
        except ValueError as error:
            log.error("the route keys stay as they were: %s", error)
            return
        if not self._pool.set_route_keys(text):
            return
        self._supervisor.send_to_all(Keys(text))
        log.info("route keys read anew, key ids %s", ",".join(part.strip()[0] for part in text.split(",") if part))

    def _read_backbone_keys(self) -> None:
        try:
            text = self._settings.backbone_key_text()
            check_backbone_key(text)
        except ValueError as error:
            log.error("the backbone keys stay as they were: %s", error)
            return
        if not self._pool.set_backbone_keys(text):
            return
        self._supervisor.send_to_all(TagKeys(text))
        log.info("backbone keys read anew: %d", len(text.split(",")))

    async def _log_statistics(self) -> None:
        fields = merged(await self._supervisor.statistics()).values()
        del fields["delays"]
        if fields != self._logged:
            self._logged = fields
            log.info("%s", " ".join(f"{name}={value}" for name, value in fields.items()), extra=fields)

    async def _drain(self) -> None:
        """Yield the port to a process that takes over, or announce that we drain; forward until calls are gone."""
        patience = time.monotonic() + ANNOUNCED_WITHIN_SECONDS + LEARN_SECONDS
        while (successor := self._nats.other_process()) is not None and successor.taking_over:
            if time.monotonic() > patience:
                break
            await asyncio.sleep(DRAIN_POLL_SECONDS)  # told to end before the other process has the port
        if successor is not None:
            log.info("yielding the port to the process that takes over")
            self._pool.yield_port(len(successor.tunnel_addresses) - bool(successor.tcp_addresses))
        else:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._nats.announce_draining()
        began = time.monotonic()
        deadline = began + self._settings.relay_drain_seconds
        passed, quiet_since = -1, began
        received, heard_at = -1, began
        while (now := time.monotonic()) < deadline:
            counted = merged(await self._supervisor.statistics())
            forwarded = counted.packets_to_transceivers + counted.packets_to_relays + counted.packets_to_clients
            if forwarded != passed:
                passed, quiet_since = forwarded, now
            # What passes over the backbone has no flow here.
            quiet = not self._pool.backbones or not passed or now - quiet_since > QUIET_SECONDS
            if not counted.flows_confirmed and quiet:
                break
            if counted.packets_to_transceivers != received:
                received, heard_at = counted.packets_to_transceivers, now
            if quiet and now - began > STAYS_SECONDS and now - heard_at > LEFT_SECONDS:
                break
            await asyncio.sleep(DRAIN_POLL_SECONDS)


def _written(file: Path | None) -> tuple[int, int] | None:
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ino) if found is not None else None


async def serve(settings: RelaySettings, pool: WorkerPool, metrics: MetricsSettings) -> None:
    """Run a relay until SIGTERM or SIGINT; SIGHUP reads the route keys anew."""
    stop = asyncio.Event()
    control = Control(settings, pool, metrics, stop.set)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, control.read_keys)
    watchdog = LoopWatchdog("relay", STANDSTILL_SECONDS)
    watchdog.start()
    try:
        await control.run(stop)
    finally:
        watchdog.stop()
