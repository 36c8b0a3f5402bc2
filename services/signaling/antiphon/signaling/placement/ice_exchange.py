"""The ICE credentials of a running call's client, put to the call's transceiver: the fragments of WHIP.

An ICE session is known by our ufrag in it, which no other ICE session has, and that is its entity tag.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from antiphon.schemas.messages import OPEN_REPLY, OpenRequest, Refused, decode_any, encode
from antiphon.signaling.http.errors import ApiError, unavailable
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.directory import race
from antiphon.signaling.placement.ice_fragment import Fragment, write_fragment
from antiphon.signaling.placement.placement import CONTROL_TIMEOUT, CallOptions, api_errors_for, no_call
from antiphon.signaling.placement.sdp import candidate_lines


class Restarted(NamedTuple):
    """A new ICE session of a call. A value, made for one HTTP answer."""

    ufrag: str
    """Ours."""
    fragment: str
    """What the client has to know of it."""


async def exchange_ice(
    backend: Backend, session_id: str, fragment: Fragment, sessions: list[str], asker: str, options: CallOptions
) -> Restarted | None:
    """Restart ICE if the fragment's credentials are new; None: they are those of the ICE session that there is.

    `sessions`: the ICE sessions that the client means, `*` for any; `ApiError` 412 if the call has another one. Asker
    and other errors as in `restart_ice`.
    """
    backend.connection("the call can't be reached")
    if not backend.directory.relays(time.monotonic()):
        raise unavailable("no_relay", "no relay is announced: there is no way for media to reach this server")
    with api_errors_for(session_id, "try again, or place a new call"):
        request = OpenRequest(
            offer="", session_id=session_id, creator=asker, ice=fragment.credentials, ice_sessions=sessions
        )
        message = await backend.ask_owner("open", session_id, encode(request), CONTROL_TIMEOUT)
        reply = decode_any(message.data, OPEN_REPLY, "OpenReply")
    if isinstance(reply, Refused):
        if reply.code == "no_session":
            raise no_call(session_id)
        if reply.code == "stale_ice":
            raise ApiError(412, "stale_ice_session", reply.message, param="If-Match")
        raise unavailable("overloaded", f"the call's transceiver did not take the fragment: {reply.message}")
    if reply.ice is None:
        return None
    relays = backend.directory.relay_offers(session_id, time.monotonic(), options.place, reply.cluster)
    if not relays:
        raise unavailable("no_relay", "no relay is announced that reaches the call's cluster: its old path stays")
    candidates = candidate_lines(relays, race(options.place, relays, options.race))
    return Restarted(reply.ice.ufrag, write_fragment(fragment, reply.ice, candidates))
