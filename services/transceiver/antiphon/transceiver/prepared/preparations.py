"""Offers that are answered before the caller presses the button: no slot is taken and no session made."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from antiphon.rtc import sdp
from antiphon.runtime.bounded_log import BoundedLog
from antiphon.runtime.metrics import OFF, Metrics
from antiphon.runtime.nats.buckets import PREPARED_MAX_VALUE, PREPARED_TTL
from antiphon.runtime.nats.errors import BUS_ERRORS
from antiphon.schemas import messages, subjects
from antiphon.transceiver.calls.new_sessions import NewSessions, new_session_id
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.prepared.bucket import PreparedBucket
from antiphon.transceiver.prepared.entry import PreparedCall, PreparedCrypto
from antiphon.transceiver.prepared.waiting_calls import Waiting, WaitingCalls

log = logging.getLogger(__name__)
complaints: Final = BoundedLog(log)

LARGEST: Final = PREPARED_MAX_VALUE - 256
"""Octets of a sealed call; the rest is for its subject and headers."""


class Preparations:
    """Answers such offers, and withdraws what was answered. The `Preparations` of `SessionOpener`.

    Owner: the process, for its whole life. Event loop only.
    """

    def __init__(
        self,
        cluster: int,
        crypto: PreparedCrypto,
        bucket: PreparedBucket,
        waiting: WaitingCalls,
        new_sessions: NewSessions,
        demux: Demux,
        metrics: Metrics = OFF,
    ) -> None:
        self._cluster = cluster
        self._crypto = crypto
        self._bucket = bucket
        self._waiting = waiting
        self._new = new_sessions
        self._demux = demux
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()

    async def prepare(
        self, request: messages.OpenRequest, offer: sdp.Offer, now: float
    ) -> messages.Opened | messages.Refused:
        """Answer the offer. Its client's first check makes the session, here or nowhere, within `PREPARED_TTL`."""
        refusal = self._waiting.refusal(request.caller, now)
        if refusal:
            return messages.Refused(code="full", message=f"{refusal}: place an ordinary call")
        terms = self._new.terms(new_session_id(), request, now)
        answer = self._new.prepared_answer(terms, offer)
        key = self._key_of(terms.session_id, request)
        kept = offer._replace(sections=(), codecs=(offer.codec,), group=(), audio_level_suffix="")
        sealed = self._crypto.seal(key, PreparedCall(terms, request, kept))
        if len(sealed) > LARGEST:
            text = f"the session settings are too long for a prepared call ({len(sealed)} of {LARGEST} octets)"
            return messages.Refused(code="not_prepared", message=f"{text}: place an ordinary call")
        try:
            revision = await self._bucket.put(key, sealed)
        except BUS_ERRORS as error:
            complaints.warning(f"no call is prepared, the bucket takes nothing: {error or type(error).__name__}")
            text = "prepared calls can't be kept right now: place an ordinary call"
            return messages.Refused(code="not_prepared", message=text)
        until = now + PREPARED_TTL
        self._waiting.add(terms.ufrag, Waiting(terms.session_id, key, revision, request.caller, until), now)
        self._metrics.add("antiphon_call_prepared_total", result="answered")
        return messages.Opened(session_id=terms.session_id, answer=answer, cluster=self._cluster)

    async def withdraw(self, session_id: str, request: messages.OpenRequest) -> messages.Opened | messages.Refused:
        """It shall not be used any more: a newer one, or an ordinary call, is in its place.

        Refused with `in_use` once its client is connected, and with `no_session` where it is not known.
        """
        key = self._key_of(session_id, request)
        ufrag = self._waiting.ufrag_of(key, session_id)
        waiting = self._waiting.find(ufrag, self._loop.time()) if ufrag is not None else None
        if ufrag is not None and waiting is not None:
            self._waiting.remove(ufrag)
            await self._bucket.drop(key, waiting.revision)
            return messages.Opened(session_id=session_id, answer="", cluster=self._cluster)
        session = self._demux.get(session_id)
        if session is None or not messages.may_manage(request.creator, session.state.creator):
            return messages.Refused(code="no_session", message=f"prepared call {session_id} is not known here")
        if session.got_through:
            return messages.Refused(code="in_use", message=f"prepared call {session_id} is in use")
        session.end("setup_timeout", self._loop.time(), "withdrawn")
        return messages.Opened(session_id=session_id, answer="", cluster=self._cluster)

    def _key_of(self, session_id: str, request: messages.OpenRequest) -> str:
        if request.prepare:
            return subjects.prepared_key_of(self._cluster, request.prepare)
        return subjects.prepared_key(self._cluster, session_id)
