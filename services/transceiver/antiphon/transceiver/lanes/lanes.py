"""The lanes of a process: which call has one now."""

from __future__ import annotations

from typing import NamedTuple

from antiphon.rtc.media import opus
from antiphon.transceiver.lanes.inbound_lane import MAX_SUBJECT, InboundLane, LaneOutput, MessageWriter
from antiphon.transceiver.lanes.lane_table import LaneTable
from antiphon.transceiver.lanes.outbound_lane import OutboundLane
from antiphon.transceiver.net.demux import Demux
from antiphon.transceiver.net.held_datagrams import HeldDatagrams
from antiphon.transceiver.session.session import Session


class _Call(NamedTuple):
    session: Session
    output: LaneOutput


class Lanes:
    """Makes and removes lanes.

    A call gets one inwards when its client's media flows, and another when what it rests on changes. The one outwards
    rests on nothing that changes.

    Owner: the process, for its whole life. Event loop only. A `SessionListener`. Bounded by the sessions there are.
    """

    def __init__(self, demux: Demux, publisher: MessageWriter, held: HeldDatagrams) -> None:
        self.inbound = LaneTable[InboundLane]()
        """By the client's tunnel header. Lanes that serve no more answer False."""
        self._demux = demux
        self._publisher = publisher
        self._held = held
        self._calls: dict[str, _Call] = {}
        self._of: dict[str, InboundLane] = {}

    def add(self, session: Session, output: LaneOutput) -> None:
        """A session begins here. `poll` gives it an inbound lane as soon as it can have one."""
        self._calls[session.state.session_id] = _Call(session, output)
        if output.port is not None:
            session.sender.use_lane(OutboundLane(self._held, output.port, session.ice))

    def session_removed(self, session_id: str) -> None:
        self._calls.pop(session_id, None)
        self._close(session_id)

    def poll(self) -> None:
        """Call every 50 ms: make the lanes that can be made, and remove those that serve no more."""
        for session_id, call in self._calls.items():
            lane = self._of.get(session_id)
            if lane is not None and lane.serves() and lane.decodes():
                continue
            self._close(session_id)
            self._open(session_id, call)

    def _open(self, session_id: str, call: _Call) -> None:
        session = call.session
        path, srtp, decoder = session.ice.path, session.srtp, session.receiver.decoder
        if path is None or srtp is None or not isinstance(decoder, opus.Decoder) or session.ended is not None:
            return
        if self._demux.owner_of(path.header) is not session:
            return  # it is another call's address
        if len(call.output.audio_subject) > MAX_SUBJECT:
            return
        lane = InboundLane(session, call.output, self._publisher, path, srtp, decoder)
        if lane.serves():
            self._of[session_id] = lane
            self.inbound.add(lane.header, lane)

    def _close(self, session_id: str) -> None:
        lane = self._of.pop(session_id, None)
        if lane is not None:
            self.inbound.remove(lane.header, lane)
