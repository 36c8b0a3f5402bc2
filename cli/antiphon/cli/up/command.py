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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from antiphon.cli.errors import UsageError
from antiphon.cli.keys import fresh_password_key, fresh_route_keys, fresh_secret_key, write_secret
from antiphon.cli.up import embedded_nats
from antiphon.cli.up.agents_environment import environment_of_agents
from antiphon.cli.up.bind_options import (
    http_address,
    nats_port,
    offered_hosts,
    relay_address,
    relay_tcp_address,
    require_keys_for_others,
    tls_files,
    usable_port,
)
from antiphon.cli.up.health import Health, ask_health
from antiphon.cli.up.part_environment import environment_of, environment_of_plugin
from antiphon.cli.up.plugin_name import Plugin, plugin
from antiphon.cli.up.running_stack import CREDENTIALS, RunningStack, announced
from antiphon.cli.up.setup import SetupThread, table_from_environment
from antiphon.cli.up.state_directory import state_directory
from antiphon.cli.up.supervisor import Part, Supervisor
from antiphon.cli.up.terminal import Terminal
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.users import Users, UsersError, stack_users
from antiphon.schemas.addresses import Address

PROGRESS_EVERY: Final = 5.0
"""Seconds between two lines about what is still missing."""
DEMO: Final = "clinic"
"""The part that answers where no language model is set."""
DEMO_AGENT: Final = "concierge"
STORES_WITHIN: Final = 5.0
"""Seconds that the services wait for the buckets and streams before they are started all the same."""


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
        metavar="[NAME=]FILE",
        help="also run this Python file, an agent plug-in such as examples/echo_agent.py (may be repeated); its "
        "credential is for the agent NAME, by default the one of `Agent(...)` in the file",
    )
    parser.add_argument(
        "--plugin-env",
        action="append",
        default=[],
        metavar="NAME",
        help="pass this variable of the environment on to the plug-ins, such as the key of a model server (may be "
        "repeated)",
    )
    parser.add_argument(
        "--no-demo",
        action="store_true",
        help="run without the demo clinic, the agent `concierge`, which is there where no language model is set",
    )
    parser.add_argument(
        "--agents",
        type=Path,
        metavar="DIR",
        help="also take calls for the agents that the files NAME.toml in this folder describe (ANTIPHON_AGENTS_DIR); "
        "the bridge gets the variables that they name for keys",
    )


def run(args: argparse.Namespace) -> int:
    """Run all parts until a signal; returns the exit status."""
    offered = offered_hosts(args.public, args.loopback_only)
    http, relay = http_address(args.http), relay_address(args.relay_port, offered)
    require_keys_for_others(http, args.public)
    plugin_environment = environment_of_plugin(args.plugin_env)
    plugins = [plugin(text, plugin_environment) for text in args.plugin]
    of_agents = environment_of_agents(args.agents)
    demo = _demo(args.no_demo, environment_of("inference-bridge"), plugins)
    wanted = _users(plugins, demo)
    tls = tls_files(args.tls_cert, args.tls_key)
    http = http._replace(port=usable_port(http, socket.SOCK_STREAM, "--http"))
    relay = relay._replace(port=usable_port(relay, socket.SOCK_DGRAM, "--relay-port"))
    relay_tcp = relay_tcp_address(args.relay_tcp_port, relay)
    own_nats_port = nats_port(args.nats_port)
    stores = table_from_environment()
    embedded_nats.server_binary()

    services = ["relay", "transceiver", "signaling", "inference-bridge"]
    names = ["nats", "setup", *services, *([DEMO] if demo else []), *(each.file.stem for each in plugins)]
    terminal = Terminal(names)
    supervisor = Supervisor(terminal)
    supervisor.catch_signals()
    setup: SetupThread | None = None
    with state_directory() as state:
        try:
            users = _make_users(Path(state), wanted)
            server = embedded_nats.EmbeddedNats(state, own_nats_port, users.server_file)
            store = Part("nats", server.command, environment_of("nats"), terminal, embedded_nats.worth_showing)
            supervisor.add(store)
            nats_url = _wait_for_nats(supervisor, store, server)
            if nats_url is None:
                return 0
            terminal.log("nats", f"serves {nats_url}")
            setup_access = Access("setup", "", users.seed_file(wanted["setup"]))
            setup = SetupThread(lambda: connection.connect(nats_url, "antiphon-setup", setup_access), stores, terminal)
            setup.wait_until_ready(STORES_WITHIN)
            environments = _environments(http, relay, relay_tcp, offered, _keys(Path(state)))
            environments["signaling"] |= tls
            environments["inference-bridge"] |= of_agents
            websocket = str(users.seed_file(wanted["websocket"]))
            environments["signaling"]["ANTIPHON_WEBSOCKET_NATS_CREDENTIALS"] = websocket
            environments["relay"].setdefault("ANTIPHON_RELAY_STATE_FILE", str(Path(state, "relay.json")))
            with announced(RunningStack(nats_url, Path(state))) as trouble:
                if trouble:
                    terminal.warn(trouble)
                for name, environment in environments.items():
                    on_nats = _on_nats(nats_url, users, wanted[name])
                    module = f"antiphon.{name.replace('-', '_')}"
                    standby = name == "relay"
                    supervisor.add(_python(name, ["-m", module], environment | on_nats, terminal, standby))
                if demo is not None:
                    on_nats = _on_nats(nats_url, users, demo)
                    environment = environment_of_plugin(["ANTIPHON_GREETING"]) | on_nats
                    supervisor.add(_python(DEMO, ["-m", "antiphon.demo.concierge"], environment, terminal))
                for each in plugins:
                    on_nats = _on_nats(nats_url, users, each.user)
                    file = str(each.file)
                    supervisor.add(_python(each.file.stem, [file], plugin_environment | on_nats, terminal))
                secure = bool(environments["signaling"].get("ANTIPHON_TLS_CERT"))
                return _watch(supervisor, terminal, http, secure=secure)
        finally:
            if supervisor.stopping:
                terminal.announce("Ending ...")
            if setup is not None:
                setup.end()
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


def _python(
    name: str, arguments: list[str], environment: dict[str, str], terminal: Terminal, standby: bool = False
) -> Part:
    return Part(name, lambda: [sys.executable, *arguments], environment, terminal, standby=standby)


def _demo(unwanted: bool, bridge: Mapping[str, str], plugins: Sequence[Plugin]) -> User | None:
    """The demo clinic as a user of NATS; None where it is not wanted, or something else has its name."""
    answers = any(bridge.get(f"ANTIPHON_{name}") for name in ("LLM_URL", "SCRIPTED_AGENT"))
    if unwanted or answers or bridge.get("ANTIPHON_LLM") == "remote":
        return None
    return None if any(each.user.name == DEMO_AGENT for each in plugins) else User("text_agent", DEMO_AGENT)


def _users(plugins: Sequence[Plugin], demo: User | None) -> dict[str, User]:
    """Who each part is for NATS; the roles of commands besides."""
    cluster = os.environ.get("ANTIPHON_CLUSTER", "").strip()
    users = {
        "relay": User("relay", _relay_name()),
        "transceiver": User("transceiver", cluster=int(cluster) if cluster.isdigit() else 0),
        "signaling": User("signaling"),
        "inference-bridge": User("bridge", os.environ.get("ANTIPHON_AGENT_NAME") or "concierge"),
    }
    users |= {user.title: user for user in stack_users((), (), ()) if user.role != "signaling"}
    if demo is not None:
        users[demo.title] = demo
    for each in plugins:
        if users.setdefault(each.user.title, each.user) != each.user:
            raise UsageError(f"--plugin {each.file}: {each.user.title} is named twice, with different rights")
    return users


def _make_users(state: Path, wanted: Mapping[str, User]) -> Users:
    """Fresh credentials for this run."""
    users = Users(state / CREDENTIALS)
    try:
        users.add(list(wanted.values()))
    except UsersError as error:  # such as a relay's name that no subject can hold
        raise UsageError(str(error)) from None
    return users


def _keys(state: Path) -> dict[str, Path]:
    """Fresh keys of this run, in files: the environment of a process can be read by others."""
    files = {name: state / "keys" / name for name in ("route", "password", "secret")}
    files["route"].parent.mkdir(mode=0o700)
    write_secret(files["route"], fresh_route_keys(), None)
    write_secret(files["password"], fresh_password_key(), None)
    write_secret(files["secret"], fresh_secret_key(), None)
    return files


def _on_nats(nats_url: str, users: Users, user: User) -> dict[str, str]:
    return {"ANTIPHON_NATS_URL": nats_url, "ANTIPHON_NATS_CREDENTIALS": str(users.seed_file(user))}


def _relay_name() -> str:
    return os.environ.get("ANTIPHON_RELAY_NAME") or "local"


def _environments(
    http: Address, relay: Address, relay_tcp: Address | None, offered: list[str], keys: Mapping[str, Path]
) -> dict[str, dict[str, str]]:
    """The environment of each service. The relay gets no password key."""
    tcp = {}
    if relay_tcp is not None:
        tcp = {
            "ANTIPHON_RELAY_TCP_BIND": str(relay_tcp),
            "ANTIPHON_RELAY_TCP_PUBLIC_ADDRESSES": ",".join(str(Address(host, relay_tcp.port)) for host in offered),
        }
    route_keys = {"ANTIPHON_ROUTE_KEYS_FILE": str(keys["route"])}
    signaling = environment_of("signaling")
    secret_keys_given = any(name.startswith("ANTIPHON_SECRET_KEY") for name in signaling)
    return {
        "relay": {
            **environment_of("relay"),
            **route_keys,
            "ANTIPHON_RELAY_NAME": _relay_name(),
            "ANTIPHON_RELAY_BIND": str(relay),
            "ANTIPHON_RELAY_PUBLIC_ADDRESSES": ",".join(str(Address(host, relay.port)) for host in offered),
            "ANTIPHON_RELAY_TUNNEL_BIND": "127.0.0.1:0",
            "ANTIPHON_RELAY_TUNNEL_ADVERTISE": "127.0.0.1",
            **tcp,
        },
        "transceiver": {
            # Models and media share the cores here: a call that begins late is better than one that is refused.
            "ANTIPHON_MAX_LATENESS_MS": "250",
            **environment_of("transceiver"),
            **route_keys,
            "ANTIPHON_PASSWORD_KEY_FILE": str(keys["password"]),
            "ANTIPHON_TRANSCEIVER_BIND": "127.0.0.1:0",
            "ANTIPHON_TRANSCEIVER_ADVERTISE": "127.0.0.1",
        },
        "signaling": {
            **({} if secret_keys_given else {"ANTIPHON_SECRET_KEY_FILE": str(keys["secret"])}),
            **signaling,
            "ANTIPHON_HTTP_BIND": str(http),
        },
        "inference-bridge": environment_of("inference-bridge"),
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
