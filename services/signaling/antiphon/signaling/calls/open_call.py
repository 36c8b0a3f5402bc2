"""`open_call`: an offer, who calls, and how the call is to be, become a call. The one way for every WebRTC protocol.

A protocol reads its request, calls this, and writes `Placed` in its own form; `ApiError` says why there is no call.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.requests import HTTPConnection

from antiphon.runtime import telemetry
from antiphon.runtime.telemetry import names, spans
from antiphon.schemas.messages import CallTrace
from antiphon.signaling.auth.authentication import Caller
from antiphon.signaling.calls.admission import admitted
from antiphon.signaling.calls.configuration import CallConfiguration
from antiphon.signaling.http.dependencies import Services
from antiphon.signaling.http.errors import ApiError, as_header
from antiphon.signaling.placement.placement import CallOptions, Placed, place
from antiphon.signaling.placement.sdp import OfferError, check_offer

log = logging.getLogger(__name__)
_UFRAG: Final = re.compile(r"^a=ice-ufrag:([!#-~]+)\r?$", re.MULTILINE)


class Offering:
    """A request with an offer, and the root span of the call that it is to become. Made by `offer_span`."""

    def __init__(self, trace: CallTrace) -> None:
        self.trace = trace
        self._owned = False
        self._name = names.CALL

    @property
    def owned(self) -> bool:
        """Another process has the call, and ends its root span."""
        return self._owned

    @property
    def name(self) -> str:
        """Of the root span."""
        return self._name

    def took(self) -> None:
        """The call exists: its owner ends the root span from now on."""
        self._owned = True

    def is_no_call(self, name: str) -> None:
        """The request is about another thing than a new call."""
        self._name = name


@contextmanager
def offer_span(request: HTTPConnection, name: str = names.CALL) -> Iterator[Offering]:
    """The request, as a span of a new call's trace. It includes the authentication: a trace shows refused callers too.

    The root span ends here if no process has taken the call. `name`: of the root span.
    """
    offering = Offering(telemetry.new_call(dict(request.headers)))
    if name != names.CALL:
        offering.is_no_call(name)
    reason, cause, failed = "answered", "", False
    context = telemetry.call_context(offering.trace)
    with spans.current(names.OFFER, context=context, kind=SpanKind.SERVER, record_exception=False) as span:
        try:
            yield offering
        except ApiError as error:
            reason, cause, failed = "refused", error.code, error.status >= 500
            span.set_attribute(names.REFUSED, error.code)
            if failed:
                span.set_status(Status(StatusCode.ERROR, error.code))
            raise
        except asyncio.CancelledError:
            reason = "abandoned"  # the client has gone before its answer
            raise
        except BaseException as error:
            reason, cause, failed = "refused", type(error).__name__, True
            span.set_status(Status(StatusCode.ERROR, cause))
            raise
        finally:
            if not offering.owned:
                telemetry.end_call(offering.trace, "", reason, cause, failed=failed, name=offering.name)


async def open_call(
    services: Services, caller: Caller, offer: str, configuration: CallConfiguration, offering: Offering
) -> Placed:
    """Place the call; `ApiError` if the offer can't become one, the caller may not, or nobody takes it.

    `offer`: the client's SDP, as it came. `offering`: the request that it came in.
    """
    check_sdp(offer)
    agent, session, options = configuration
    async with admitted(services, caller):
        placed = await place(services.backend, offer, agent, session, caller, options, offering.trace)
    offering.took()
    span = trace.get_current_span()
    spans.name_call(span, placed.session_id)
    span.set_attribute(names.AGENT_NAME, agent)
    fields = {"session": placed.session_id, "agent": agent}
    where = ""
    if placed.region:
        fields |= {"region": placed.region, "ingress": placed.ingress, "place_source": options.place.source}
        where = f" in region {placed.region}, ingress in {placed.ingress}, place by {options.place.source}"
    log.info("call %s placed for agent %s%s", placed.session_id, agent, where, extra=fields)
    return placed


def check_sdp(offer: str) -> None:
    """`ApiError` 400 for an offer that no transceiver has to see to refuse it."""
    try:
        check_offer(offer)
    except OfferError as error:
        raise ApiError(400, error.code, str(error), param="sdp") from None


def headers_of(placed: Placed, options: CallOptions) -> dict[str, str]:
    """What an answer says besides the SDP: the ICE session as its entity tag (RFC 9725 section 4.3.1), how long
    signaling waited for transceivers, and the way that the call takes, where regions have names."""
    headers = {"Cache-Control": "no-store"}
    if ufrag := _UFRAG.search(placed.answer):
        headers["ETag"] = f'"{ufrag[1]}"'
    if placed.waited:
        headers["Server-Timing"] = f"transceiver;dur={placed.waited * 1000:.1f}"
    if placed.region:
        headers["Antiphon-Region"] = as_header(placed.region)
        headers["Antiphon-Ingress"] = as_header(placed.ingress)
        if placed.second_ingress:
            headers["Antiphon-Second-Ingress"] = as_header(placed.second_ingress)
        headers["Antiphon-Place-Source"] = options.place.source
    return headers
