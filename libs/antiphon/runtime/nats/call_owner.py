"""A request to the transceiver that has a call, whichever region it is in: of signaling, which keeps no calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, Literal

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error, NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from antiphon.runtime import tasks
from antiphon.schemas import subjects

Kind = Literal["attach", "open", "hang_up", "transfer", "status"]
_OWN_REGION: Final = {
    "attach": subjects.call_attach,
    "open": subjects.call_open,
    "hang_up": subjects.call_hang_up,
    "transfer": subjects.call_transfer,
    "status": subjects.call_status,
}


async def ask_owner(
    client: Client,
    kind: Kind,
    session_id: str,
    payload: bytes,
    timeout: float,
    elsewhere: Iterable[int] = (),
    headers: Mapping[str, str] | None = None,
    far_timeout: float | None = None,
) -> Msg:
    """The answer of the call's transceiver; `NoRespondersError` or `TimeoutError` when none has the call.

    This region is asked first, so that what concerns its own calls does not leave it. `elsewhere`: the clusters of
    other regions, asked at once if no transceiver here has the call, for `far_timeout` seconds (None: `timeout`). The
    first answer counts. So a call that exists nowhere costs one request here and one to each of them.
    """
    given = dict(headers) if headers else None
    try:
        return await client.request(_OWN_REGION[kind](session_id), payload, timeout=timeout, headers=given)
    except (NoRespondersError, NatsTimeoutError):
        clusters = sorted(set(elsewhere))
        if not clusters:
            raise
        patience = timeout if far_timeout is None else far_timeout
        if (answer := await _first(client, kind, session_id, payload, patience, clusters, given)) is None:
            raise
        return answer


async def _first(
    client: Client,
    kind: Kind,
    session_id: str,
    payload: bytes,
    timeout: float,
    clusters: list[int],
    headers: dict[str, str] | None,
) -> Msg | None:
    asking = [
        asyncio.create_task(
            client.request(subjects.cluster_call(cluster, session_id, kind), payload, timeout=timeout, headers=headers)
        )
        for cluster in clusters
    ]
    try:
        for answered in asyncio.as_completed(asking):
            try:
                return await answered
            except (Error, OSError):  # that cluster does not have it, or can't be reached
                continue
        return None
    finally:
        await tasks.end(*asking)
