"""A hub of three NATS servers and regions joined to it as leaf nodes, by the files of deploy/nats as they are."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from nats.errors import Error as NatsError
from support.certificates import Certificates, certificates
from support.conditions import wait_until
from support.processes.ended import ended
from support.processes.nats import SETTINGS, server_binary, stopped
from support.processes.nats_roles import MASTER

from antiphon.runtime.nats import connection, store_keeper, stores
from antiphon.runtime.nats.access import HUB_PREFIX, Access
from antiphon.runtime.nats.client import BusClient
from antiphon.runtime.nats.hub import Hub, hub_role
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.users import Region, Users, hub_users, stack_users

FILES = Path(__file__).parents[3] / "deploy" / "nats"
EU, US = Region("eu", (1,), ("eu-relay",)), Region("us", (2,), ("us-relay",))
HUB_SERVERS = ("hub-a", "hub-b", "hub-c")
ATTEMPTS = 3


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing uses now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class PortTakenError(Exception):
    """A port that was free when it was chosen is not free any more."""


class Server:
    """One NATS server, by a file of deploy/nats. Owned by `world`."""

    def __init__(
        self,
        directory: Path,
        file: str,
        site: dict[str, object],
        users: Users,
        tls: Certificates,
        *more: Path,
        changed: Callable[[str], str] = str,
    ) -> None:
        self._made_of = file, site, users, tls, more
        directory.mkdir(parents=True)
        for path in more:
            shutil.copy(path, directory)
        self.port = int(str(site["client_listen"]).rpartition(":")[2])
        self.url = f"nats://localhost:{self.port}"
        self.users, self._tls = users, tls
        self._directory, self._file = directory, directory / file
        self._file.write_text(changed((FILES / file).read_text()))
        shutil.copy(SETTINGS, directory / "antiphon.conf")
        paths = {"cert": tls.cert, "key": tls.key, "ca": tls.ca, "store": directory / "store"}
        lines = [f"{name}: {written(value)}\n" for name, value in {**site, **paths}.items()]
        (directory / "site.conf").write_text("".join(lines))
        one = f"{{ user: {MASTER}, password: {MASTER} }}"
        text = users.server_file.read_text().replace("users = [", f"users = [\n    {one}", 1)
        (directory / "users.conf").write_text(text)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._directory / "log", "ab") as log:
            return subprocess.Popen([str(server_binary()), "-c", str(self._file)], stderr=log)

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text()

    def of_a_thief(self, directory: Path, changed: Callable[[str], str]) -> Server:
        """A server with the same credentials whose main file its owner has changed."""
        file, site, users, tls, more = self._made_of
        site = {**site, "name": "thief", "client_listen": f"127.0.0.1:{free_ports(1)[0]}"}
        return Server(directory, file, site, users, tls, *more, changed=changed)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def loses_its_disk(self) -> None:
        """While it is down."""
        shutil.rmtree(self._directory / "store")

    def start_again(self) -> None:
        self.process = self._start()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        with stopped(self.process.pid):
            yield

    def is_ready(self) -> bool:
        """`PortTakenError` if it has ended: another process has taken one of its ports."""
        if self.process.poll() is not None:
            raise PortTakenError(self.log)
        return "Server is ready" in self.log

    def access(self, user: User, region: str = "", prefix: str = "ANTIPHON_NATS") -> Access:
        seed = self.users.seed_file(user)
        return Access(user.role, user.name, seed, tls_ca=self._tls.ca, prefix=prefix, region=region)

    @asynccontextmanager
    async def client(self, user: User | None = None, region: str = "") -> AsyncIterator[BusClient]:
        """A connection of the user; of none: of one who may do everything."""
        access = Access(tls_ca=self._tls.ca) if user is None else self.access(user, region)
        url = self.url if user is not None else self.url.replace("//", f"//{MASTER}:{MASTER}@")
        client = await _connected(url, access)
        try:
            yield client
        finally:
            await client.close()


async def _connected(url: str, access: Access) -> BusClient:
    deadline = time.monotonic() + 15
    while True:
        try:
            return await connection.connect_once(url, "test", access)
        except (NatsError, OSError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


def written(value: object) -> str:
    """As a value of `site.conf`."""
    if isinstance(value, list):
        return "[" + ", ".join(f'"{each}"' for each in value) + "]"
    return f'"{value}"'


class World:
    """A running hub and its regions. Owned by `world`."""

    def __init__(self, hub: list[Server], regions: dict[str, Server]) -> None:
        self.hub, self.regions = hub, regions

    @property
    def eu(self) -> Server:
        return self.regions["eu"]

    @property
    def us(self) -> Server:
        return self.regions["us"]

    def hub_of(self, role: str, region: str = "eu") -> Hub:
        """As a service of the region has it in its settings."""
        access = self.hub[0].access(User(hub_role(role), region), prefix=HUB_PREFIX)
        return Hub(tuple(each.url for each in self.hub), access)

    @contextmanager
    def hub_standing_still(self) -> Iterator[None]:
        with ExitStack() as stack:
            for server in self.hub:
                stack.enter_context(server.standing_still())
            yield

    def end(self) -> None:
        for server in (*self.hub, *self.regions.values()):
            with ended(server.process):
                pass


@contextmanager
def world(directory: Path, regions: Sequence[Region] = (EU, US), only: str = "") -> Iterator[World]:
    """Run them, all with TLS; their buckets are there. `only`: no hub and this region."""
    with ExitStack() as stack:
        for attempt in range(ATTEMPTS):
            with suppress(PortTakenError):
                made = stack.enter_context(_servers(directory / str(attempt), regions, only))
                break
        else:
            raise AssertionError(f"other processes took ports of the servers, {ATTEMPTS} times")
        with ThreadPoolExecutor(1) as thread:  # the caller may have a loop of its own
            thread.submit(asyncio.run, _make_stores(made)).result()
        yield made


@contextmanager
def _servers(directory: Path, regions: Sequence[Region], only: str) -> Iterator[World]:
    """Those of `world`, ready to be connected to."""
    directory.mkdir()
    tls, route_tls = certificates(directory / "tls"), certificates(directory / "route-tls")
    users = Users(directory / "hub-users")
    users.add(hub_users(regions))
    ports = free_ports(9)
    hub, running = list[Server](), dict[str, Server]()
    routes = [f"tls://localhost:{port}" for port in ports[3:6]]
    leaf_urls = [f"tls://localhost:{port}" for port in ports[6:]]
    route_files: dict[str, object] = {f"route_{name}": getattr(route_tls, name) for name in ("cert", "key", "ca")}
    try:
        for name, client, route, leaf_port in zip(HUB_SERVERS, ports[:3], ports[3:6], ports[6:], strict=True):
            number = HUB_SERVERS.index(name) + 1
            towards = routes[number - 1 :]  # of two servers one connects to the other
            site = {"name": name, "register": f"copy-leases:{number}", "routes": towards, **route_files}
            listen = {"client_listen": client, "route_listen": route, "leaf_listen": leaf_port}
            site |= {key: f"127.0.0.1:{port}" for key, port in listen.items()}
            if not only:
                hub.append(Server(directory / name, "hub.conf", site, users, tls))
        for region in regions:
            own = Users(directory / f"{region.name}-users")
            own.add([*stack_users(region.relays, region.clusters), User("agent", "echo")])
            site = {
                "name": f"{region.name}-1",
                "region": region.name,
                "client_listen": f"127.0.0.1:{free_ports(1)[0]}",
                "hub_urls": leaf_urls,
                "hub_ca": tls.ca,
            }
            if only in ("", region.name):
                leaf = users.seed_file(User("leaf", region.name))
                running[region.name] = Server(directory / region.name, "region.conf", site, own, tls, leaf)
        for server in (*hub, *running.values()):
            wait_until(server.is_ready)
        yield World(hub, running)
    finally:
        World(hub, running).end()


async def _make_stores(made: World) -> None:
    for server in made.regions.values():
        async with server.client(User("setup")) as client:
            await store_keeper.make(client)
    if made.hub:
        async with made.hub[0].client(User("hub_setup")) as client:
            deadline = time.monotonic() + 20
            while True:
                try:
                    await store_keeper.make(client, stores.HUB_STORES)
                    return
                except (NatsError, OSError):  # its servers have not found one another yet
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.2)
