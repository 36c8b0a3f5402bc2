"""Transceivers of two clusters, one the second region of the other, and of a third one for that.

The test is every relay, the agent and signaling.

Clients enter by an ingress of a third place, which the test is too: it sends what names a transceiver to a relay of its
cluster, and follows the signed announcements of moves. What transceivers send is kept, by sender.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from support.net.swallowing_proxy import SwallowingProxy, swallowing_proxy
from support.peers.transceiver_peer import CarriedPeer
from support.processes.relay_process import PATIENCE, ROUTE_KEYS, Datagrams
from support.processes.transceiver_process import ENVIRONMENT, Bench, Line

from antiphon.runtime.nats import connection, stores
from antiphon.schemas import MalformedError, backbone, messages, subjects, tunnel
from antiphon.schemas.addresses import Address, parse_address
from antiphon.schemas.backbone import Route
from antiphon.schemas.messages import decode, decode_any, encode
from antiphon.schemas.route_token import RouteKeyring
from antiphon.schemas.slot_moves import AnnouncementKey, ClusterKeys
from antiphon.testing.stores import make_hub_stores
from antiphon.transceiver.copies.lease_bucket import LeaseBucket

INGRESS = 9
ANNOUNCE_SEED = bytes(range(32, 64))
ANNOUNCE_SEED_OF_2 = bytes(range(96, 128))
PASSWORD_KEY_OF_2 = bytes(range(64, 96)).hex()
Identity = tuple[int, int, int]


class Client:
    """A caller and the flow that its ingress has for it."""

    def __init__(self, number: int) -> None:
        self.plain = tunnel.pack_header(Address("192.0.2.1", 10_000 + number))
        self.owner: Identity | None = None
        """As the token of its answer says, or as was announced since."""
        self.peer: CarriedPeer
        self.sent: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
        """By cluster: all that a transceiver of it sent to this client, delivered or not."""

    def header(self) -> bytes:
        assert self.owner is not None
        _, slot, epoch = self.owner
        return backbone.with_route(self.plain, Route(INGRESS, slot, epoch, 0))


class _Connected(NamedTuple):
    client: NatsClient


class TwoClusters(Bench):
    """Cluster 1 has the calls, cluster 2 keeps their copies; where it runs, cluster 3 keeps those of cluster 2."""

    hub: SwallowingProxy
    """The way of cluster 1 to the hub."""

    async def start(self, **environment: str) -> None:
        """Both processes are ready."""
        self.by_cluster: dict[int, subprocess.Popen[bytes]] = {}
        self.announced: dict[Identity, messages.TransceiverAnnouncement] = {}
        self.moves: list[messages.SlotMoved] = []
        self.callers: list[Client] = []
        third = environment.pop("KEYS_OF_2", "")
        self.relays = {cluster: Datagrams() for cluster in ((1, 2, 3) if third else (1, 2))}
        self.cluster_keys = ClusterKeys.from_text(
            f"1:{AnnouncementKey(ANNOUNCE_SEED).public},2:{AnnouncementKey(ANNOUNCE_SEED_OF_2).public}"
        )
        await self.client.subscribe(subjects.ANY_TRANSCEIVER_ANNOUNCE, cb=self._announced)
        await self.client.subscribe(subjects.ANY_CLUSTER_MOVED, cb=self._moved)
        await self.client.subscribe(subjects.agent_claim("echo"), cb=self._claimed)
        for subject in subjects.session_observed():
            await self.client.subscribe(subject, cb=self._heard)
        for cluster, relay in self.relays.items():
            self._loop().add_reader(relay.socket.fileno(), self._relay_readable, cluster)
        self._tasks.append(asyncio.create_task(self._announce_relays()))
        self.environments = {
            1: {"ANTIPHON_COPY_CLUSTER": "2", "ANTIPHON_HUB_NATS_URL": self.hub.url},
            2: {
                "ANTIPHON_COPY_OF_FILE": environment.pop("KEYS"),
                "ANTIPHON_HUB_NATS_URL": self.nats_url,
                "ANTIPHON_PASSWORD_KEY": PASSWORD_KEY_OF_2,
            },
        }
        if third:
            self.environments[2]["ANTIPHON_COPY_CLUSTER"] = "3"
            self.environments[3] = {
                "ANTIPHON_COPY_OF_FILE": third,
                "ANTIPHON_HUB_NATS_URL": self.nats_url,
                "ANTIPHON_PASSWORD_KEY": bytes(range(128, 160)).hex(),
            }
        for cluster in self.environments:
            self.start_one(cluster, **environment)
        clusters = set(self.environments)
        await self.until(lambda: clusters <= {each[0] for each in self.announced}, "all announce themselves", 30)
        await self.until(lambda: len([each for each in self.announced if each[0] == 1]) == 2, "two slots of cluster 1")
        await self._are_trusted()

    def start_one(self, cluster: int, **environment: str) -> None:
        settings = os.environ | ENVIRONMENT | {"ANTIPHON_NATS_URL": self.nats_url, "ANTIPHON_CLUSTER": str(cluster)}
        settings |= self.environments[cluster] | environment
        self.by_cluster[cluster] = subprocess.Popen([sys.executable, "-m", "antiphon.transceiver"], env=settings)

    async def _announced(self, message: Msg) -> None:
        said = decode(message.data, messages.TransceiverAnnouncement)
        self.announced[said.cluster, said.slot, said.epoch] = said

    async def _moved(self, message: Msg) -> None:
        moved = decode(message.data, messages.SlotMoved)
        self.cluster_keys.verify(moved.move, moved.signature)
        self.moves.append(moved)
        for caller in self.callers:
            if caller.owner == moved.move.old:
                caller.owner = moved.move.new

    # ---- relays

    def _announcement(self, cluster: int) -> messages.RelayAnnouncement:
        address = str(self.relays[cluster].address)
        return messages.RelayAnnouncement(
            name=f"relay-{cluster}",
            public_addresses=[address],
            tunnel_addresses=[address],
            cluster=cluster,
            ingress=cluster,
            backbone_addresses=[address],
        )

    async def _announce_relays(self) -> None:
        while True:
            for cluster in self.relays:
                with contextlib.suppress(nats.errors.Error, OSError):
                    await self.client.publish(
                        subjects.relay_announce(f"relay-{cluster}"), encode(self._announcement(cluster))
                    )
            await asyncio.sleep(0.2)

    async def _are_trusted(self) -> None:
        for cluster in self.relays:
            await self.client.publish(subjects.relay_announce(f"relay-{cluster}"), encode(self._announcement(cluster)))
        await connection.flush(self.client)
        await asyncio.sleep(0.3)
        await self.client.request("$SRV.PING.antiphon-transceiver", b"", timeout=5)

    def _relay_readable(self, cluster: int) -> None:
        """A relay of that cluster has got something from a transceiver of it, and sends it to the ingress."""
        for packet in self.relays[cluster].waiting():
            try:
                read = tunnel.unpack(packet)
            except MalformedError:
                continue
            for caller in self.callers:
                if read.client.port == tunnel.unpack(caller.plain).client.port and read.payload:
                    caller.sent[cluster].append(read.payload)
                    if caller.owner is not None and read.header == caller.header():
                        caller.peer.receive(read.payload)

    # ---- calls

    async def place(self, copies: bool | None = True) -> tuple[Client, Line]:
        """A call on cluster 1 with its media and its channel up."""
        caller = Client(len(self.callers))
        self.callers.append(caller)

        def transmit(data: bytes) -> None:
            announced = self.announced.get(caller.owner) if caller.owner is not None else None
            if announced is not None:
                relay = self.relays[announced.cluster]
                with contextlib.suppress(OSError):
                    relay.send(caller.header() + data, parse_address(announced.tunnel_address))

        caller.peer = CarriedPeer(transmit)
        ready = next(key for key, said in self.announced.items() if key[0] == 1 and said.state == "ready")
        request = messages.OpenRequest(offer=caller.peer.offer(), agent="echo", copies=copies)
        subject = subjects.transceiver_open(1, ready[1])
        reply = await self.client.request(subject, encode(request), timeout=PATIENCE)
        opened = decode_any(reply.data, messages.OPEN_REPLY, "OpenReply")
        assert isinstance(opened, messages.Opened), opened
        ufrag = opened.answer.split("a=ice-ufrag:")[1].split("\r\n")[0]
        token = RouteKeyring.from_text(ROUTE_KEYS).open(ufrag)
        caller.owner = (token.cluster, token.slot, token.epoch)
        caller.peer.begin(opened.answer)
        line = self.lines[opened.session_id]
        await asyncio.wait_for(caller.peer.channel_open.wait(), PATIENCE)
        await self.until(lambda: bool(line.frames), "audio of the caller")
        return caller, line

    async def copies(self, cluster: int = 1) -> dict[str, messages.StoreCopy]:
        """What the second region of this cluster has, by session."""
        bucket = await self.client.jetstream().key_value(subjects.BUCKET_COPIES)
        found: dict[str, messages.StoreCopy] = {}
        with contextlib.suppress(Exception):
            for key in [each for each in await bucket.keys() if each.startswith(f"{cluster}.")]:
                found[key.rpartition(".")[2]] = decode((await bucket.get(key)).value or b"", messages.StoreCopy)
        return found

    async def has_copy(self, line: Line, cluster: int = 1) -> messages.StoreCopy:
        """Wait until the second region of this cluster has a copy that counts."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found = (await self.copies(cluster)).get(line.session_id)
                if found is not None and found.sealed and not found.ended:
                    return found
                await asyncio.sleep(0.05)

    async def lease(self, identity: Identity) -> messages.CopyLease:
        bucket = LeaseBucket([_Connected(self.client)], stores.HUB_REPLICAS, "test")
        found = [entry.lease for entry in (await bucket.look(identity)).values() if entry and entry.lease]
        return max(found, key=lambda lease: lease.number)

    async def until_lease(
        self, identity: Identity, condition: Callable[[messages.CopyLease], bool], patience: float = 20
    ) -> messages.CopyLease:
        async with asyncio.timeout(patience):
            while not condition(lease := await self.lease(identity)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return lease

    async def close(self) -> None:
        for caller in self.callers:
            await caller.peer.vanish()
        for process in self.by_cluster.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        for relay in self.relays.values():
            self._loop().remove_reader(relay.socket.fileno())
            relay.close()
        await super().close()


def write_keys(file: Path, cluster: int = 1) -> None:
    """Those of a cluster, for its second region."""
    password, seed = {
        1: (ENVIRONMENT["ANTIPHON_PASSWORD_KEY"], ANNOUNCE_SEED),
        2: (PASSWORD_KEY_OF_2, ANNOUNCE_SEED_OF_2),
    }[cluster]
    file.write_text(f'[{cluster}]\npassword_key = "{password}"\nannounce_key = "{seed.hex()}"\n')
    file.chmod(0o400)


@asynccontextmanager
async def two_clusters(
    nats_url: str, keys: Path, keys_of_2: Path | None = None, **environment: str
) -> AsyncIterator[TwoClusters]:
    """`keys`: where to write the keys of cluster 1 for cluster 2. `keys_of_2`: likewise for cluster 3."""
    make_hub_stores(nats_url)
    write_keys(keys)
    if keys_of_2 is not None:
        write_keys(keys_of_2, 2)
        environment["KEYS_OF_2"] = str(keys_of_2)
    client = await connection.connect(nats_url, "test")
    try:
        async with swallowing_proxy(nats_url) as hub:
            both = TwoClusters(nats_url, client)
            both.hub = hub
            try:
                await both.start(KEYS=str(keys), **environment)
                yield both
            finally:
                await both.close()
    finally:
        await client.close()
