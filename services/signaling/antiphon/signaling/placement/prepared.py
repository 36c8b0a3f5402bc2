"""Whether the prepared call of a client secret was used; if not, it can't be any more when this returns.

A newer prepared call of the same secret, or an ordinary one, takes over its use.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from nats.errors import Error as NatsError

from antiphon.schemas import MalformedError, subjects
from antiphon.schemas.messages import OPEN_REPLY, Opened, OpenRequest, Refused, decode_any, encode
from antiphon.signaling.placement.backend import Backend

log = logging.getLogger(__name__)

ASK_SECONDS: Final = 0.5
"""For the transceiver's answer. One that is silent is most likely dead; its client has had no call then."""


async def was_used(
    backend: Backend,
    creator: str,
    session_id: str,
    cluster: int,
    slot: int,
    is_marked: Callable[[str], Awaitable[bool]],
) -> bool:
    """Of the prepared call `session_id`, which that transceiver has answered; it is withdrawn if it still waits.

    `is_marked(session_id)`: whether the mark of a used one is in the bucket of limits. `ApiError` without NATS.
    """
    client = backend.connection("a prepared call can't be withdrawn")
    request = OpenRequest(offer="", creator=creator, prepare=creator, withdraw=session_id)
    try:
        subject = subjects.transceiver_open(cluster, slot)
        message = await client.request(subject, encode(request), timeout=ASK_SECONDS)
        reply = decode_any(message.data, OPEN_REPLY, "OpenReply")
    except (NatsError, MalformedError) as error:
        log.info("prepared call %s can't be withdrawn: %s", session_id, error or type(error).__name__)
        reply = Refused(code="no_session", message="")
    if isinstance(reply, Opened):
        return False
    if reply.code == "in_use" or await is_marked(session_id):
        return True
    # Marks are in the bucket of the region that has the call. Of another region's calls nothing is known here after
    # their ends: they count as used.
    return bool(backend.foreign_region(cluster))
