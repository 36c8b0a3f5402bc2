"""The process: settings, socket, signals. `python -m antiphon.signaling [--check]`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import ipaddress
import logging
import signal
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from typing import Final

import uvicorn

from antiphon.runtime import tasks, telemetry
from antiphon.runtime.loop_watchdog import LoopWatchdog
from antiphon.runtime.metrics import MetricsService, load_or_exit
from antiphon.runtime.metrics.health import DRAINING
from antiphon.schemas.addresses import Address
from antiphon.signaling.auth.authentication import Authenticator
from antiphon.signaling.auth.key_watch import watch
from antiphon.signaling.connections.acceptor import Acceptor, allow_connections
from antiphon.signaling.connections.certificate import CHECK_SECONDS, Certificate, CertificateError
from antiphon.signaling.connections.connection_table import ConnectionTable
from antiphon.signaling.connections.server import Server
from antiphon.signaling.http.app import create_app, create_authenticator
from antiphon.signaling.metrics import register_metrics
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.place_table import PlaceTable
from antiphon.signaling.settings import Settings, is_loopback, load
from antiphon.signaling.webhooks.delivery import Webhooks
from antiphon.signaling.websocket_calls.service import WebSocketCalls

log = logging.getLogger(__name__)
STANDSTILL_SECONDS: Final = 10.0
"""Only calls over WebSocket run through this process: waiting costs less than a needless restart."""
LINEAR_TIMEOUTS: Final = 16
"""TCP_THIN_LINEAR_TIMEOUTS of <linux/tcp.h>: with a few packets under way TCP does not double its wait from one
repetition to the next, for six of them."""
PING_SECONDS: Final = 5.0
"""Between two pings of a WebSocket, and for the pong: a client that is gone is noticed within twice this time."""
MAX_MESSAGE: Final = 21 << 20
"""Bytes of a WebSocket message: base64 of 15 MiB, which is the most audio that an event may hold. What else an event
may hold, its reader checks."""


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# Without a proxy, whatever the environment names, and for any certificate: `--check` asks the instance on this host by
# its address, and the certificate has a name.
_open = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_unverified())
).open


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    # Named, because asyncio sets TCP_NODELAY on accepted connections of such sockets only. Without it each request
    # but a connection's first one is answered 40 ms late: Nagle's algorithm waits for the client's delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if sys.platform == "linux":
        # Accepted connections inherit it. An answer that is lost again and again is repeated at even intervals.
        listener.setsockopt(socket.IPPROTO_TCP, LINEAR_TIMEOUTS, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(512)
    return listener


def _warn_of_keys(authenticator: Authenticator, host: str) -> None:
    ring = authenticator.ring
    if ring.open:
        callers = "this machine" if is_loopback(host) else "everybody who reaches this port (ANTIPHON_ALLOW_OPEN)"
        log.warning("no ANTIPHON_API_KEYS are set: %s may call without a key", callers)
    elif not authenticator.signer.shared:
        log.warning(
            "no ANTIPHON_SECRET_KEYS are set: client secrets made here are good at this process only, until it ends"
        )
    if ring.listed_in_file:
        log.warning(
            "ANTIPHON_API_KEYS_FILE holds keys in clear: `antiphon api-keys` makes a file of hashes, "
            "with scopes, ends and revocation"
        )
    for number, key in enumerate(ring.table.keys, 1):
        if key.weak:
            log.warning(
                "API key %d may be guessed: make it with `antiphon api-keys add` or openssl rand -hex 32", number
            )


async def _serve(
    settings: Settings,
    listener: socket.socket,
    backend: Backend,
    authenticator: Authenticator,
    certificate: Certificate | None,
    place_table: PlaceTable | None,
    shown: MetricsService,
) -> None:
    metrics = shown.metrics
    websocket_calls = WebSocketCalls(settings, metrics, lambda: backend.process_id)
    webhooks = Webhooks(
        settings.webhook_urls(),
        settings.webhook_keys() if settings.webhook_urls() else (),
        settings.webhook_retry_seconds,
        lambda: backend.client,
        metrics,
    )
    register_metrics(metrics, backend, websocket_calls, webhooks)
    config = uvicorn.Config(
        create_app(settings, backend, authenticator, place_table, websocket_calls, metrics),
        log_config=None,
        log_level="warning",
        access_log=False,  # it would hold client addresses
        proxy_headers=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=15,
    )
    table = ConnectionTable(allow_connections(), settings.connections_per_address)
    acceptor = Acceptor(listener, table, settings.proxies(), certificate.context if certificate else None)
    server = Server(config, acceptor)
    loop = asyncio.get_running_loop()
    stopping: set[asyncio.Task[None]] = set()

    async def drain() -> None:
        websocket_calls.drain()
        await websocket_calls.drained()
        server.should_exit = True

    def stop() -> None:
        if stopping:
            server.should_exit = True  # asked for the second time
        stopping.add(asyncio.create_task(drain()))

    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, stop)
    await shown.start(lambda: backend.client)
    backend.start({"calls": "websocket"} if websocket_calls.served else {}, stop)
    shown.started(lambda: DRAINING if stopping else {})
    websocket_calls.start()
    webhooks.start()
    host, port = listener.getsockname()[:2]
    log.info("serving on %s://%s", "https" if certificate else "http", Address(host, port))
    _warn_of_keys(authenticator, host)
    watching = asyncio.create_task(watch(authenticator.ring, authenticator.signer))
    # A task of its own: reading a large table takes long, and revoked keys do not wait for it.
    watching_places = asyncio.create_task(watch(place_table)) if place_table else None
    # Routes, models and modules live as long as the process: a full collection took 50 ms to look at all of them again,
    # in the midst of a request.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)
    watchdog = LoopWatchdog("signaling", STANDSTILL_SECONDS)
    watchdog.start()
    renewal = asyncio.create_task(_renew(certificate)) if certificate else None
    try:
        await server.serve(sockets=[listener])
    finally:
        await tasks.end(*filter(None, [watching, watching_places]))
        await tasks.end(*stopping)
        await websocket_calls.stop()
        await webhooks.stop()
        await authenticator.limits.store.stop()
        if renewal:
            await tasks.end(renewal)
        await backend.stop()
        await shown.close()
        watchdog.stop()


async def _renew(certificate: Certificate) -> None:
    """Take up renewed certificates, for ever."""
    while True:
        certificate.refresh(time.time())
        await asyncio.sleep(CHECK_SECONDS)


def _check(settings: Settings) -> int:
    """0 when the instance on this host says that a call would succeed."""
    host, port = settings.bind_address()
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if ":" not in host else "::1"
    try:
        with _open(f"{'https' if settings.tls_cert else 'http'}://{Address(host, port)}/healthz", timeout=3):
            return 0
    except urllib.error.HTTPError as error:
        print(f"signaling: {error.read(2000).decode(errors='replace')}", file=sys.stderr)
    except (OSError, http.client.HTTPException) as error:
        print(f"signaling: nothing answers at {Address(host, port)}: {error}", file=sys.stderr)
    return 1


def main() -> int:
    """Run the service, or check the running one; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m antiphon.signaling", description=__doc__)
    parser.add_argument("--check", action="store_true", help="ask the running instance's /healthz; exit status 0 or 1")
    arguments = parser.parse_args()
    try:
        settings = load()
    except ValueError as error:
        print(f"signaling: {error}", file=sys.stderr)
        return 2
    if arguments.check:
        return _check(settings)
    shown = MetricsService("signaling", load_or_exit("signaling"), region=settings.region)
    backend = Backend(settings, shown.metadata)
    try:
        authenticator = create_authenticator(settings, backend)
        place_table = PlaceTable(settings.place_table) if settings.place_table else None
    except ValueError as error:
        print(f"signaling: {error}", file=sys.stderr)
        return 2
    certificate = None
    if settings.tls_cert and settings.tls_key:
        try:
            certificate = Certificate(settings.tls_cert, settings.tls_key)
        except CertificateError as error:
            print(f"signaling: {error}", file=sys.stderr)
            return 2
    end_telemetry = telemetry.start("signaling")
    try:
        listener = _listen(*settings.bind_address())
    except OSError as error:
        print(f"signaling: ANTIPHON_HTTP_BIND {settings.http_bind} can't be bound: {error.strerror}", file=sys.stderr)
        return 2
    try:
        with listener:
            asyncio.run(_serve(settings, listener, backend, authenticator, certificate, place_table, shown))
    finally:
        end_telemetry()
    return 0


if __name__ == "__main__":
    sys.exit(main())
