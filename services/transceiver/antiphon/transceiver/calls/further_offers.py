"""Another offer of a running session's client: its direction changes, ICE restarts, or both."""

from __future__ import annotations

from antiphon.rtc import sdp
from antiphon.rtc.codec import Codec
from antiphon.schemas import messages
from antiphon.transceiver.calls.new_sessions import NewSessions
from antiphon.transceiver.calls.session_table import SessionTable


class FurtherOffers:
    """Owner: the `SessionOpener`, for the life of the process. Event loop only."""

    def __init__(self, sessions: SessionTable, new_sessions: NewSessions, cluster: int) -> None:
        self._sessions = sessions
        self._demux = sessions.demux
        self._new = new_sessions
        self._cluster = cluster

    def answer(self, session_id: str, asker: str, text: str, now: float) -> messages.Opened | messages.Refused:
        """Another offer on a running session: the direction of its audio, new ICE credentials, or both.

        Credentials stay where the offer's have stayed (RFC 8839 section 4.4.3.1.1): Firefox refuses an answer that
        restarts ICE unasked. Codec, keys and data channels stay in any case; a section that the session does not have
        is declined.
        """
        session = self._demux.get(session_id)
        foreign = session is not None and not messages.may_manage(asker, session.state.creator)
        if session is None or session.ended is not None or foreign:
            return messages.Refused(code="no_session", message=f"session {session_id} is over: place a new call")
        state = session.state
        codec = Codec(state.rtp.codec, state.rtp.payload_type)
        offer = sdp.read_offer(text, keep=codec)
        if sorted(offer.fingerprints) != sorted(state.remote_fingerprints):
            return messages.Refused(
                code="bad_offer", message="the offer has another a=fingerprint than the session: place a new call"
            )
        if offer.codec != codec:
            return messages.Refused(
                code="bad_offer",
                message=f"the session has {codec.rtpmap}, which the offer does not list: it has {offer.codec.rtpmap}",
            )
        if state.data_port is None:
            offer = offer.without_data()
        client = offer.ufrag, offer.password
        if client in (state.remote_credentials.get(ufrag) for ufrag in state.ufrags):
            session.count_answer()
        else:
            self._demux.restart_ice(session, self._new.mint(self._sessions.endpoints.of(session_id)), client)
        session.change_direction(offer.direction, now)
        answer = self._new.answer(session, offer)
        return messages.Opened(session_id=session_id, answer=answer, cluster=self._cluster)

    def exchange_ice(
        self, session_id: str, request: messages.OpenRequest, theirs: messages.IceCredentials
    ) -> messages.Opened | messages.Refused:
        """The client's ICE credentials without an offer: ICE restarts where they are new, and nothing else changes."""
        session = self._demux.get(session_id)
        foreign = session is not None and not messages.may_manage(request.creator, session.state.creator)
        if session is None or session.ended is not None or foreign:
            return messages.Refused(code="no_session", message=f"session {session_id} is over: place a new call")
        state = session.state
        if not {"*", state.ufrags[0]}.intersection(request.ice_sessions):
            text = f"session {session_id} has another ICE session by now: restart ICE to begin a new one"
            return messages.Refused(code="stale_ice", message=text)
        client = (theirs.ufrag, theirs.password)
        opened = messages.Opened(session_id=session_id, answer="", cluster=self._cluster)
        if state.remote_credentials.get(state.ufrags[0]) == client:
            return opened  # candidates of the session that it has, which a lite agent does not need
        self._demux.restart_ice(session, self._new.mint(self._sessions.endpoints.of(session_id)), client)
        password = session.ice.password_of(state.ufrags[0])
        ours = messages.IceCredentials(ufrag=state.ufrags[0], password=password)
        return opened.model_copy(update={"ice": ours})
