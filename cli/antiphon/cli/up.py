"""`antiphon up`: the whole stack on one machine, each part its own process.

Decides which parts there are and their settings; `supervisor` starts, watches and ends them.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Final

from antiphon.cli import embedded_nats
from antiphon.cli.bind_options import (
    http_address,
    nats_port,
    offered_hosts,
    relay_address,
    relay_tcp_address,
    require_keys_for_others,
    tls_files,
    usable_port,
)
from antiphon.cli.errors import UsageError
from antiphon.cli.health import Health, ask_health
from antiphon.cli.keys import fresh_password_key, fresh_route_keys
from antiphon.cli.state_directory import state_directory
from antiphon.cli.supervisor import Part, Supervisor
from antiphon.cli.terminal import Terminal
from antiphon.schemas.addresses import Address

PROGRESS_EVERY: Final = 5.0
"""Seconds between two lines about what is still missing."""
DECIDED_HERE: Final = (
    "ANTIPHON_ROUTE_KEYS",
    "ANTIPHON_PASSWORD_KEY",
    "ANTIPHON_RELAY_BIND",
    "ANTIPHON_RELAY_PUBLIC_ADDRESSES",
    "ANTIPHON_RELAY_TUNNEL_",
    "ANTIPHON_RELAY_TCP_",
    "ANTIPHON_HTTP_BIND",
    "ANTIPHON_SLOT",
)
"""Prefixes of variables that are not passed on: they come from options of this command, or are new in each run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon up`."""
    parser.add_argument(
        "--http",
        default="127.0.0.1:8080",
        metavar="[ADDRESS:]PORT",
        help="where the page and the API are served; port 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="serve the page and the API over HTTPS with this certificate and the ones up to its root (PEM); a renewed "
        "file is taken up",
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the key of --tls-cert (PEM, not encrypted)")
    parser.add_argument(
        "--relay-port",
        type=int,
        default=3478,
        metavar="PORT",
        help="the UDP port for media; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--relay-tcp-port",
        type=int,
        metavar="PORT",
        help="the TCP port for media of clients whose network blocks UDP; 0 takes a free one (default: the number of "
        "--relay-port, and none if that is taken)",
    )
    parser.add_argument(
        "--public",
        metavar="IP",
        help="serve media to other machines, which reach this one under this address (needs ANTIPHON_API_KEYS)",
    )
    parser.add_argument(
        "--loopback-only",
        action="store_true",
        help="offer media on 127.0.0.1 alone, not on this machine's own network address as well (Firefox, which pairs "
        "no loopback address with another one, can then make no calls)",
    )
    parser.add_argument(
        "--nats-port",
        type=int,
        metavar="PORT",
        help=f"port of the embedded NATS server on loopback (default: {embedded_nats.DEFAULT_PORT}, or a free one)",
    )
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="also run this Python file, an agent plug-in such as examples/echo_agent.py (may be repeated)",
    )


def run(args: argparse.Namespace) -> int:
    """Run all parts until a signal; returns the exit status."""
    offered = offered_hosts(args.public, args.loopback_only)
    http, relay = http_address(args.http), relay_address(args.relay_port, offered)
    require_keys_for_others(http, args.public)
    tls = tls_files(args.tls_cert, args.tls_key)
    for plugin in args.plugin:
        if not plugin.is_file():
            raise UsageError(f"there is no plug-in {plugin}: --plugin takes a Python file")
    http = http._replace(port=usable_port(http, socket.SOCK_STREAM, "--http"))
    relay = relay._replace(port=usable_port(relay, socket.SOCK_DGRAM, "--relay-port"))
    relay_tcp = relay_tcp_address(args.relay_tcp_port, relay)
    own_nats_port = nats_port(args.nats_port)
    embedded_nats.server_binary()

    names = ["nats", "relay", "transceiver", "signaling", "inference-bridge", *(p.stem for p in args.plugin)]
    terminal = Terminal(names)
    supervisor = Supervisor(terminal)
    supervisor.catch_signals()
    with state_directory() as state:
        try:
            server = embedded_nats.EmbeddedNats(state, own_nats_port)
            store = Part("nats", server.command, _base("nats"), terminal, embedded_nats.worth_showing)
            supervisor.add(store)
            nats_url = _wait_for_nats(supervisor, store, server)
            if nats_url is None:
                return 0
            terminal.log("nats", f"serves {nats_url}")
            environments = _environments(http, relay, relay_tcp, offered, nats_url)
            environments["signaling"] |= tls
            environments["relay"].setdefault("ANTIPHON_RELAY_STATE_FILE", str(Path(state, "relay.json")))
            for name, environment in environments.items():
                supervisor.add(_python(name, ["-m", f"antiphon.{name.replace('-', '_')}"], environment, terminal))
            for plugin in args.plugin:
                supervisor.add(
                    _python(plugin.stem, [str(plugin)], _base(plugin.stem) | {"ANTIPHON_NATS_URL": nats_url}, terminal)
                )
            return _watch(supervisor, terminal, http, secure=bool(environments["signaling"].get("ANTIPHON_TLS_CERT")))
        finally:
            if supervisor.stopping:
                terminal.announce("Ending ...")
            supervisor.end_all()
            if supervisor.stopping:
                terminal.announce("Antiphon has ended.")


def _watch(supervisor: Supervisor, terminal: Terminal, http: Address, *, secure: bool) -> int:
    """Restart parts until the stop; print when a call would succeed, and until then what is missing."""
    scheme = "https" if secure else "http"
    url = f"{scheme}://{http}/" if http.host not in ("0.0.0.0", "::") else f"{scheme}://127.0.0.1:{http.port}/"
    begun = time.monotonic()
    next_progress = begun + PROGRESS_EVERY
    health = _HealthWatch(url)
    announced = was_ready = False
    while not supervisor.pause(0.1):
        supervisor.tend()
        refused = [part.name for part in supervisor.parts if part.refused]
        if refused:
            terminal.warn(f"Antiphon ends: {', '.join(refused)} cannot run with these settings.")
            return 1
        now, state = time.monotonic(), health.state
        if state.ready and not announced:
            terminal.announce(f"Antiphon is ready: {url}")
            announced = True
        elif state.ready and not was_ready:
            terminal.announce("Calls succeed again.")
        elif was_ready and not state.ready:
            terminal.warn(f"Calls would fail now: {state.message}")
        elif not announced and now >= next_progress:
            terminal.announce(f"Starting, {now - begun:.0f} s so far: {state.message}")
            next_progress = now + PROGRESS_EVERY
        was_ready = state.ready
    return 0


class _HealthWatch:
    """Asks /healthz in a thread, so that a slow answer delays neither restarts nor the end. Made by `_watch`."""

    def __init__(self, url: str) -> None:
        self.state = Health(False, "signaling does not answer yet")
        self._url = url
        threading.Thread(target=self._run, name="health", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.state = ask_health(self._url, own=True)
            time.sleep(0.25)


# ---- the settings of each part -----------------------------------------------------------------------


def _python(name: str, arguments: list[str], environment: dict[str, str], terminal: Terminal) -> Part:
    return Part(name, lambda: [sys.executable, *arguments], environment, terminal)


def _base(part: str) -> dict[str, str]:
    """Our own environment, without settings that this command decides and without the keys of other parts."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(DECIDED_HERE) and not _is_anothers_key(name, part)
    }
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _is_anothers_key(variable: str, part: str) -> bool:
    """Whether this secret is of other parts: signaling gets API keys, bridge and plug-ins those of model servers."""
    if variable.startswith("ANTIPHON_API_KEYS"):
        return part != "signaling"
    return variable.endswith("_API_KEY") and part in ("nats", "relay", "transceiver", "signaling")


def _environments(
    http: Address, relay: Address, relay_tcp: Address | None, offered: list[str], nats_url: str
) -> dict[str, dict[str, str]]:
    """The environment of each service. Route and password keys are new each time; the relay gets no password key."""
    tcp = {}
    if relay_tcp is not None:
        tcp = {
            "ANTIPHON_RELAY_TCP_BIND": str(relay_tcp),
            "ANTIPHON_RELAY_TCP_PUBLIC_ADDRESSES": ",".join(str(Address(host, relay_tcp.port)) for host in offered),
        }

    def common(part: str) -> dict[str, str]:
        return {**_base(part), "ANTIPHON_NATS_URL": nats_url}

    route_keys = {"ANTIPHON_ROUTE_KEYS": fresh_route_keys()}
    return {
        "relay": {
            **common("relay"),
            **route_keys,
            "ANTIPHON_RELAY_NAME": os.environ.get("ANTIPHON_RELAY_NAME", "local"),
            "ANTIPHON_RELAY_BIND": str(relay),
            "ANTIPHON_RELAY_PUBLIC_ADDRESSES": ",".join(str(Address(host, relay.port)) for host in offered),
            "ANTIPHON_RELAY_TUNNEL_BIND": "127.0.0.1:0",
            "ANTIPHON_RELAY_TUNNEL_ADVERTISE": "127.0.0.1",
            **tcp,
        },
        "transceiver": {
            # Models and media share the cores here: a call that begins late is better than one that is refused.
            "ANTIPHON_MAX_LATENESS_MS": "250",
            **common("transceiver"),
            **route_keys,
            "ANTIPHON_PASSWORD_KEY": fresh_password_key(),
            "ANTIPHON_TRANSCEIVER_BIND": "127.0.0.1:0",
            "ANTIPHON_TRANSCEIVER_ADVERTISE": "127.0.0.1",
        },
        "signaling": {**common("signaling"), "ANTIPHON_HTTP_BIND": str(http)},
        "inference-bridge": common("inference-bridge"),
    }


def _wait_for_nats(supervisor: Supervisor, part: Part, server: embedded_nats.EmbeddedNats) -> str | None:
    """The server's URL as soon as it listens; None when the stop was requested before."""
    deadline = time.monotonic() + 15
    while not supervisor.pause(0.02):
        supervisor.tend()
        if url := server.url(part.pid):
            return url
        if time.monotonic() > deadline:
            raise UsageError("the NATS server does not listen after 15 s: see its lines above")
    return None
