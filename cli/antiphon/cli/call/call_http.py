"""The HTTP side of one call: its offer, prepared or not, why it ended, its end."""

from __future__ import annotations

import asyncio

import httpx

from antiphon.cli.call.call_client import CALLS_PATH, PREPARE_PATH, Fate, Placed, fate, hang_up, place
from antiphon.cli.call.http_transport import Transport


class CallHttp:
    """Owner: the `Peer`, on one event loop, until `close`."""

    def __init__(self) -> None:
        self.placed: Placed | None = None
        """The call; None before the answer."""
        self.prepared: Placed | None = None
        """One whose answer was not used yet."""
        self._http: httpx.AsyncClient | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def place(
        self,
        url: str,
        offer: str,
        agent: str | None,
        key: str | None,
        timeout: float,
        region: str | None,
        copy: bool | None,
        prepares: bool = False,
    ) -> None:
        """Send the offer; CallError if the server refuses it. `prepares`: the call begins when the answer is used."""
        if self._http is None:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            # Proxies of the environment are for the web; a call is placed directly.
            self._http = httpx.AsyncClient(headers=headers, transport=Transport(), trust_env=False, timeout=timeout)
        path = PREPARE_PATH if prepares else CALLS_PATH
        placed = await place(self._http, url, offer, agent, region, copy, path)
        if prepares:
            self.prepared = placed
        else:
            self.placed = placed

    def use_prepared(self) -> Placed | None:
        """The call is the prepared one, if there is one."""
        self.placed, self.prepared = self.prepared, None
        return self.placed

    def give_up(self) -> None:
        """The call is not answered: another one takes its place."""
        if self._http is not None and self.placed is not None:
            self._leaving = asyncio.create_task(hang_up(self._http, self.placed.location))
        self.placed = None

    async def fate(self) -> Fate | None:
        """The call's status by the server; None if it does not know the call."""
        return await fate(self._http, self.placed.location) if self._http is not None and self.placed else None

    async def close(self, tell: bool) -> None:
        """Free everything. `tell`: hang up."""
        if self._http is None:
            return
        if self._leaving is not None:
            await self._leaving
        if tell and self.placed is not None:
            await hang_up(self._http, self.placed.location)
        await self._http.aclose()
