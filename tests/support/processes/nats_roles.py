"""A NATS server with a user per role, as `antiphon credentials` writes them, and connections of these users."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from support.processes.nats import nats_server, server_pid

from antiphon.runtime.nats import connection, store_keeper
from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.client import BusClient
from antiphon.runtime.nats.permissions import User
from antiphon.runtime.nats.users import Region, Users, hub_users, stack_users

EVERYBODY = (
    *stack_users(["mine"], [0], ["concierge"]),
    User("relay", "theirs"),
    User("agent", "echo"),
    User("agent", "theirs"),
    User("shadow", "ear", of="echo"),
)
AT_THE_HUB = hub_users([Region("eu", (0,), ())])
"""Of another server; a test may put them on the same one."""
MASTER = "master"


class GuardedNats:
    """A running server and its users. Owned by `guarded_nats`."""

    def __init__(self, url: str, users: Users, directory: Path) -> None:
        self.url, self.users, self._directory = url, users, directory

    def access(self, user: User) -> Access:
        return Access(user.role, user.name, self.users.seed_file(user))

    def environment(self, user: User) -> dict[str, str]:
        """What a process needs to be this user."""
        return {
            "ANTIPHON_NATS_URL": self.url,
            "ANTIPHON_NATS_CREDENTIALS": str(self.users.seed_file(user)),
        }

    @asynccontextmanager
    async def client(self, user: User) -> AsyncIterator[BusClient]:
        client = await connection.connect_once(self.url, user.title, self.access(user))
        try:
            yield client
        finally:
            await client.close()

    @property
    def master_url(self) -> str:
        """The server's address, with the user `MASTER`."""
        return self.url.replace("//", f"//{MASTER}:{MASTER}@")

    def reload(self) -> None:
        os.kill(server_pid(self._directory), signal.SIGHUP)


@contextmanager
def guarded_nats(
    directory: Path, everybody: Sequence[User] = EVERYBODY, settings: str = "", master: bool = False
) -> Iterator[GuardedNats]:
    """A server that knows these users and no other; its buckets and streams are there.

    `master`: and the user `MASTER`, who may do everything: the parts of a stack that a test plays itself.
    """
    users = Users(directory / "credentials")
    users.add([*everybody, *([] if User("setup") in everybody else [User("setup")])])
    if master:
        one = f"{{ user: {MASTER}, password: {MASTER} }}"
        users.server_file.write_text(users.server_file.read_text().replace("users = [", f"users = [\n    {one}", 1))
    included = f'\ninclude "{users.server_file.relative_to(directory)}"\n'
    with nats_server(directory, settings=included + settings, stores=False) as url:
        server = GuardedNats(url, users, directory)

        async def make() -> None:
            async with server.client(User("setup")) as client:
                await store_keeper.make(client)

        with ThreadPoolExecutor(1) as thread:  # the caller may have a loop of its own
            thread.submit(asyncio.run, make()).result()
        yield server
