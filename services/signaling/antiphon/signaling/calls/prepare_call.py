"""`prepare_call`: an offer is answered before its call begins. No agent is asked, and nothing is a call yet."""

from __future__ import annotations

import logging

from opentelemetry import trace

from antiphon.runtime.telemetry import names, spans
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.calls.admission import admitted_to_prepare, holder_of
from antiphon.signaling.calls.configuration import CallConfiguration
from antiphon.signaling.calls.open_call import Offering, check_sdp
from antiphon.signaling.http.dependencies import Services
from antiphon.signaling.placement.placement import Placed, place

log = logging.getLogger(__name__)


async def prepare_call(
    services: Services, caller: Caller, offer: str, configuration: CallConfiguration, offering: Offering
) -> Placed:
    """Have the offer answered; `ApiError` as of `open_call`, but for agents: these are asked when the client comes."""
    check_sdp(offer)
    agent, session, options = configuration
    async with admitted_to_prepare(services, caller) as keep:
        placed = await place(
            services.backend, offer, agent, session, caller, options, offering.trace, prepare=holder_of(caller)
        )
        await keep(placed)
    span = trace.get_current_span()
    spans.name_call(span, placed.session_id)
    span.set_attribute(names.AGENT_NAME, agent)
    log.debug("call %s prepared for agent %s", placed.session_id, agent)
    return placed
