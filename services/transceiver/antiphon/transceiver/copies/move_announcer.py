"""Announces, once a second and signed, that calls of another cluster's transceiver go on here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from antiphon.runtime.nats.publisher import Publisher
from antiphon.schemas import MalformedError, messages, subjects
from antiphon.schemas.slot_moves import Identity, SlotMove
from antiphon.transceiver.copies.copy_keys import ForeignCluster
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.endpoint import Endpoints

EVERY: Final = 1.0


class MoveAnnouncer:
    """Relays of all regions send what names the lost transceiver to where its calls go on.

    Owner: the process, for its whole life; there is none without ANTIPHON_COPY_OF_FILE. Event loop only.
    """

    def __init__(
        self, clusters: Mapping[int, ForeignCluster], demux: Demux, endpoints: Endpoints, publisher: Publisher
    ) -> None:
        self._clusters = clusters
        self._demux = demux
        self._endpoints = endpoints
        self._publisher = publisher
        self._next = 0.0
        self._signed: dict[Identity, messages.SlotMoved] = {}
        """As announced last: signed once, not once a second."""

    def changed(self) -> None:
        """Announce at the next poll: calls were adopted."""
        self._next = 0.0

    def poll(self, now: float) -> None:
        """To be called every 50 ms."""
        if now < self._next:
            return
        self._next = now + EVERY
        moves = self._moves()
        self._signed = {old: self._signed_move(move) for old, move in moves.items()}
        for old, moved in (*self._signed.items(), *self._repeated().items()):
            self._publisher.publish(subjects.cluster_moved(old[0]), messages.encode(moved))

    def _moves(self) -> dict[Identity, SlotMove]:
        """Of several places where calls of one transceiver go on here, the one of the latest."""
        found: dict[Identity, SlotMove] = {}
        for session in self._demux:
            state = session.state
            for old in state.token_identities:
                if old[0] in self._clusters and (old not in found or found[old].made_at < state.taken_at):
                    found[old] = SlotMove(old, self._endpoints.of(state.session_id).identity, state.taken_at)
        return found

    def _repeated(self) -> dict[Identity, messages.SlotMoved]:
        """Earlier moves of calls that came by way of a cluster between: their clients' tokens name the first one."""
        found: dict[Identity, messages.SlotMoved] = {}
        texts = {text for session in self._demux for text in session.state.slot_moves}
        for text in texts:
            try:
                moved = messages.decode(text.encode(), messages.SlotMoved)
            except MalformedError:
                continue  # another release wrote it
            old = moved.move.old
            if old[0] not in self._clusters and (old not in found or found[old].made_at < moved.made_at):
                found[old] = moved
        return found

    def _signed_move(self, move: SlotMove) -> messages.SlotMoved:
        known = self._signed.get(move.old)
        if known is not None and known.move == move:
            return known
        return self._clusters[move.old[0]].signed(move)
