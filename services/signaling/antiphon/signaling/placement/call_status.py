"""Why a call ended: asked of the transceivers, and described for people and programs.

A client without a connection cannot tell an agent that hung up from a firewall. The transceiver that had the call can,
for two minutes after its end; any replica of signaling may be asked.
"""

from __future__ import annotations

import logging
from typing import Any, Final, NamedTuple

from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from antiphon.schemas import MalformedError
from antiphon.schemas.messages import CallStatus, decode, may_manage
from antiphon.signaling.http.errors import unavailable
from antiphon.signaling.placement.backend import Backend

log = logging.getLogger(__name__)

STATUS_TIMEOUT: Final = 0.5
"""Seconds for an answer; transceivers that do not know the call do not answer."""
CLIENT: Final = "client"
"""The cause of a hang-up that a client asked signaling for."""
OPERATOR: Final = "operator"
"""The cause of a hang-up that an operator asked for."""

_REASONS: Final = {
    "client_closed": (False, "the client ended the call"),
    "client_vanished": (True, "nothing came from the client any more"),
    "agent_lost": (True, "the agent of the call is gone"),
    "setup_timeout": (True, "no connection came about in time: the client's packets did not get through"),
    "dtls_failed": (True, "the DTLS handshake failed"),
    "over_budget": (True, "the client sent far more packets than a call takes, for seconds"),
    "draining": (True, "the server was shut down"),
    "internal": (True, "the server failed in this call; the transceiver's log says why"),
}


class Description(NamedTuple):
    """The state of a call, as a client gets it."""

    fault: bool
    """The call ended in another way than conversations do."""
    message: str


def describe(status: CallStatus) -> Description:
    """Why the call ended, or that it is running."""
    if status.reason is None:
        return Description(False, "the call is running")
    if status.reason != "hang_up":
        fault, message = _REASONS.get(status.reason, (True, f"the call ended: {status.reason}"))
        return Description(fault, message)
    match status.cause:
        case "client":
            return Description(False, "the client ended the call")
        case "operator":
            return Description(False, "an operator ended the call")
        case "agent_lost":
            return Description(True, "the agent of the call is gone")
        case "slow_reader":
            return Description(True, "the client did not read what was sent to it")
        case "late" | "no_relay" | "bad_answer":
            return Description(True, "the server gave the call up before it began")
        case "agent_error" if status.spoke:
            return Description(True, "the agent failed and ended the call")
    if status.spoke:
        return Description(False, "the agent ended the call")
    failed = " (it failed)" if status.cause == "agent_error" else ""
    return Description(True, f"the agent ended the call at once, without a word{failed}")


async def ask_status(backend: Backend, call_id: str, asker: str) -> dict[str, Any]:
    """The JSON object of `GET /v1/realtime/calls/{id}`. `asker`: as `messages.may_manage` takes it.

    The call may run in any region. One that no transceiver knows is `unknown` and no error: it may have ended a while
    ago. So is a call of another creator.
    """
    try:
        answer = await backend.ask_owner("status", call_id, b"", STATUS_TIMEOUT)
        status = decode(answer.data, CallStatus)
        known = may_manage(asker, status.creator)
    except (NoRespondersError, NatsTimeoutError, MalformedError):
        known = False
    except NatsError as error:
        log.warning("asking after call %s: %s", call_id, error or type(error).__name__)
        raise unavailable("nats_down", "signaling could not ask for the call over NATS") from None
    if not known:
        text = "no transceiver knows the call: it never was, or ended more than two minutes ago"
        return {"id": call_id, "object": "realtime.call", "status": "unknown", "message": text}
    description = describe(status)
    return {
        "id": call_id,
        "object": "realtime.call",
        "status": status.state,
        "connected": status.connected,
        "reason": status.reason,
        "cause": status.cause,
        "fault": description.fault,
        "message": description.message,
    }
