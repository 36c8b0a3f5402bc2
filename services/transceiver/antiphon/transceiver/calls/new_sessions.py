"""What an answer promises its client, and the session that keeps it: made at once, or when a prepared call is used."""

from __future__ import annotations

import secrets
import string
import time
from typing import Final, NamedTuple

from antiphon.rtc import sdp
from antiphon.rtc.dtls.certificate import Certificate, CurrentCertificate
from antiphon.rtc.sctp.inbound import MAX_MESSAGE
from antiphon.rtc.sdp.audio import sends
from antiphon.runtime import telemetry
from antiphon.schemas import messages
from antiphon.schemas.route_token import ice_password
from antiphon.transceiver.calls.session_table import SessionTable
from antiphon.transceiver.net.endpoint import Endpoint, TransceiverIdentity
from antiphon.transceiver.session.session import Session
from antiphon.transceiver.session.state import RtpState, RtviState, SessionState
from antiphon.transceiver.settings import Settings

_ID_ALPHABET: Final = string.ascii_letters + string.digits


class Terms(NamedTuple):
    """What the answer to an offer says of ours. A value."""

    session_id: str
    ufrag: str
    """Ours; the password follows from it."""
    fingerprint: str
    """SHA-256 of our certificate."""
    ssrc: int
    origin: int
    """Of the answer's `o=` line."""
    identity: TransceiverIdentity
    """The endpoint that the ufrag names."""


class NewSessions:
    """Draws terms, writes answers, makes sessions.

    Owner: the process, for its whole life. Event loop only. It has the process's certificate.
    """

    def __init__(self, settings: Settings, sessions: SessionTable, now: float) -> None:
        self._settings = settings
        self._sessions = sessions
        self._keyring = settings.keyring()
        self._password_key = settings.password_key_bytes()
        self._certificate = CurrentCertificate(now)
        self._keeps_copies = settings.copy_cluster is not None and settings.hand_over
        self._copies_all = settings.copy_calls == "all"

    def terms(self, session_id: str, request: messages.OpenRequest, now: float) -> Terms:
        """For a new session of this name."""
        endpoint = self._sessions.endpoints.for_call(self._is_copied(request))
        return Terms(
            session_id=session_id,
            ufrag=self.mint(endpoint),
            fingerprint=self._certificate.at(now).fingerprint,
            ssrc=secrets.randbits(31) + 1,
            origin=secrets.randbits(40),
            identity=endpoint.identity,
        )

    def mint(self, endpoint: Endpoint) -> str:
        """A ufrag that names this endpoint."""
        ufrag, _ = self._keyring.mint(*endpoint.identity, time.time())
        return ufrag

    def holds(self, terms: Terms, request: messages.OpenRequest, now: float) -> bool:
        """Whether a session can still be made by these terms: the certificate and the endpoint are there."""
        endpoint = self._sessions.endpoints.for_call(self._is_copied(request))
        return endpoint.identity == terms.identity and self._certificate_of(terms, now) is not None

    def make(
        self,
        terms: Terms,
        request: messages.OpenRequest,
        offer: sdp.Offer,
        claimed: messages.ClaimReply,
        now: float,
        listens_to: str = "",
    ) -> Session:
        """The session, found by its ufrag from now on. ValueError if the terms do not hold any more."""
        certificate = self._certificate_of(terms, now)
        if certificate is None:
            raise ValueError(f"session {terms.session_id}: the certificate of its answer is gone")
        call_trace = request.trace or telemetry.new_call(telemetry.trace_headers())
        copied = self._is_copied(request)
        state = SessionState(
            session_id=terms.session_id,
            agent=request.agent,
            ufrags=[terms.ufrag],
            remote_fingerprints=list(offer.fingerprints),
            input_rate=claimed.input_rate,
            rtp=RtpState(
                ssrc=terms.ssrc,
                codec=offer.codec.name,
                payload_type=offer.codec.payload_type,
                # Small enough that no receiver sees a wrap in its first packets (RFC 3711 section 3.3.1).
                sequence=secrets.randbits(15),
                timestamp=secrets.randbits(32),
            ),
            local_fingerprint=certificate.fingerprint,
            session_settings=request.session,
            creator=request.creator,
            locked_settings=list(request.locked),
            data_port=offer.data_port,
            data_max_message=offer.data_max_message,
            telephone=offer.telephone,
            audio_level_id=offer.audio_level_id,
            direction=offer.direction,
            listens=sends(offer.direction),
            sdp_origin=terms.origin,
            copied=copied and self._keeps_copies,
            rtvi=RtviState() if request.dialect == "rtvi" else None,
            listens_to=listens_to,
            consent_tone=0.0 if listens_to else self._settings.consent_tone_seconds(),
            remote_credentials={terms.ufrag: (offer.ufrag, offer.password)},
            call_trace=call_trace.model_dump(),
            began_at=call_trace.began,
            owner_span=telemetry.trace_headers().get("traceparent", ""),
        )
        endpoint = self._sessions.endpoints.for_call(copied and self._keeps_copies)
        return self._sessions.make(state, certificate, offer.client, endpoint)

    def prepared_answer(self, terms: Terms, offer: sdp.Offer) -> str:
        """The answer to the offer of a client that has no session yet."""
        ours = sdp.Answer(
            ufrag=terms.ufrag,
            password=ice_password(self._password_key, terms.ufrag),
            fingerprint=terms.fingerprint,
            ssrc=terms.ssrc,
            origin=terms.origin,
            version=1,
            max_message=MAX_MESSAGE,
        )
        return sdp.write_answer(offer, ours)

    def answer(self, session: Session, offer: sdp.Offer) -> str:
        """The answer to an offer of the client of a session."""
        state = session.state
        client = offer.ufrag, offer.password
        ufrag = next(each for each in state.ufrags if state.remote_credentials.get(each) == client)
        ours = sdp.Answer(
            ufrag=ufrag,
            password=session.ice.password_of(ufrag),
            fingerprint=state.local_fingerprint,
            ssrc=state.rtp.ssrc,
            origin=state.sdp_origin,
            version=state.sdp_version,
            max_message=MAX_MESSAGE,
        )
        return sdp.write_answer(offer._replace(client=session.dtls_client), ours)

    def _certificate_of(self, terms: Terms, now: float) -> Certificate | None:
        return self._certificate.of(terms.fingerprint, now)

    def _is_copied(self, request: messages.OpenRequest) -> bool:
        copied = self._copies_all if request.copies is None else request.copies
        return copied and self._keeps_copies


def new_session_id() -> str:
    """A call's name in URLs and subjects."""
    return "rtc_" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(24))
