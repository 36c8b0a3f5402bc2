"""One call: its protocol engines wired together. Datagrams, frames and `now` in, calls of `Output` out; no sockets.

The engines have files of their own. This file decides what the call's events mean for each of them, and when the
session ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Literal

from antiphon.rtc import stun
from antiphon.rtc.dtls.certificate import Certificate
from antiphon.rtc.rtp.srtp import Srtp
from antiphon.rtc.sdp.audio import Direction, sends
from antiphon.runtime.owned_calls.call_record import CallRecord
from antiphon.runtime.owned_calls.client_statistics import ClientReports
from antiphon.schemas import messages
from antiphon.schemas.addresses import Address
from antiphon.schemas.audio import AudioFrame
from antiphon.transceiver.ice.agent import IceLite, Path
from antiphon.transceiver.ice.consent import CONSENT_TIMEOUT, Consent
from antiphon.transceiver.media.call_mixer import CallMixer
from antiphon.transceiver.media.receiver import AudioReceiver
from antiphon.transceiver.media.reports import Reports
from antiphon.transceiver.media.sender import AudioSender
from antiphon.transceiver.session.bounded_events import BoundedEvents
from antiphon.transceiver.session.budget import PacketBudget
from antiphon.transceiver.session.checkpoint import Checkpoint
from antiphon.transceiver.session.fault_isolation import contained, failed
from antiphon.transceiver.session.operator_view import CountReport, OperatorView
from antiphon.transceiver.session.output import MOVED, Output
from antiphon.transceiver.session.over_budget import NOTICE_SECONDS, OverBudget
from antiphon.transceiver.session.rtvi_channels import channels_of
from antiphon.transceiver.session.state import SessionState
from antiphon.transceiver.session.transport import Step, Transport
from antiphon.transceiver.session.visits import Visits

log = logging.getLogger(__name__)

MAX_CAUSE: Final = 200
"""Characters of a hang-up's cause that are kept."""


class Session:
    """A call from the accepted offer to its end.

    Owner: the `SessionTable`, which forgets it once `ended` is set. The demux, the scheduler, the session's bus and the
    checkpoint store call it, on the event loop only. An error inside ends this session and no other (`contained`).
    """

    def __init__(
        self,
        state: SessionState,
        certificate: Certificate | None,
        password_key: bytes,
        dtls_client: bool,
        output: Output,
        now: float,
        join: Callable[[Callable[[float], None], float, float], None],
        leave: Callable[[Callable[[float], None]], None],
        take_turn: Callable[[Step, float], None] | None = None,
        consent_timeout: float = CONSENT_TIMEOUT,
        on_end: Callable[[Session], None] | None = None,
        unix_offset: float = 0.0,
        record: CallRecord | None = None,
        count_report: CountReport | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`join` and `leave` begin and end visits of the timing wheel. `take_turn` runs a costly step of the handshake,
        now or when running calls allow it. `on_end(session)` is called once, as the last step of `end` or `detach`.
        A session that another process began needs no certificate: its handshake is done. `unix_offset`: Unix time less
        the time that `now` counts, in seconds.
        `record`: the call's, for operators. `count_report(digest, the one before)`: for metrics.
        `clock`: counts like `now`, for how long a step takes; without it steps take no time.
        """
        self.state = state
        self.ended: messages.EndReason | Literal["moved"] | None = None
        self.cause = ""
        """The cause that the hang-up request gave."""
        self.got_through = False
        """The handshake finished, here or in the process that had the session before."""
        self.ice = IceLite(state, password_key, self._send_by, self._touch)
        self.budget = PacketBudget(state.strikes, now)
        self._output = output
        self._unix_offset = unix_offset
        self._take_turn_of_process = take_turn or (lambda step, now: step(now))
        self._on_end = on_end
        self._consent = Consent(now, consent_timeout, output.event)
        self._setup_ms = 0.0
        """0 in a process that has the session from another one."""
        self._said_good_bye_at: float | None = None
        """When the client was told that its agent hangs up."""
        self._reached = False
        """A packet of the client has come, here or in the process that had the session before."""
        self._resumed = False
        self._view = OperatorView(
            state, self._round_trip_ms, output.turn, now, unix_offset, record, count_report, clock
        )
        self._client_events = BoundedEvents(output, now)
        self._channels = channels_of(state, self._client_events, now, unix_offset, self._view.take_report)
        self._over_budget = OverBudget(self.budget, self._channels.send)
        self.receiver = AudioReceiver(state, self._client_events, unix_offset)
        self.sender = AudioSender(state, output, unix_offset, self._view.turn_latency)
        self._transport = Transport(
            state,
            self.ice,
            self.budget,
            self.receiver,
            self.sender,
            certificate,
            dtls_client,
            self,
            output,
            self._take_turn,
            unix_offset,
        )
        self._visits = Visits(
            self.receiver, self.sender, self._channels, self._transport.setup, join, leave, lambda: failed(self)
        )
        self._wake_speech = self._visits.wake_speech
        self.checkpoints = Checkpoint(
            state, self.receiver, self.sender, self._channels, self._transport, self.ice, self.budget, unix_offset
        )
        self._reports = Reports(state, self.receiver, self.sender, lambda _: output.event(self.statistics()))

    # ---- from the network ------------------------------------------------------------------------

    def receive_check(
        self, request: stun.BindingRequest, datagram: bytes, client: Address, path: Path, now: float
    ) -> bool:
        """Answer a connectivity check; True if it was authentic and no replay. The first one starts DTLS."""
        if self.ended is not None or not self.budget.checks.admits(now):
            return False
        if not self._reached:
            self._reached = True
            self._output.first_packet(path, now)
        if not self._transport.check(request, datagram, client, path, now):
            return False
        self._start_handshake(now)
        return True

    def receive_keepalive(self, error: stun.NoCredentialsError, path: Path, now: float) -> None:
        """A request without credentials came from a known address: it is answered, and changes nothing."""
        if self.ended is None:
            self.ice.refuse_without_credentials(error, path, now)

    def receive_answer(self, datagram: bytes, path: Path, now: float) -> None:
        """A response to a binding request, from a known address."""
        if self.ended is None and self.budget.checks.admits(now):
            self.ice.answered(datagram, path, now)

    def disowned(self, path: Path, now: float) -> None:
        """The relay of this path says that the client is another transceiver's."""
        self.ice.disowned(path, now)

    def receive_stray(self, datagram: bytes, path: Path, now: float, unix_ns: int) -> bool:
        """SRTP from an unknown address; True if it is this client's newest: then its address is known from now on."""
        return self.ended is None and self._transport.receive_stray(datagram, path, now, unix_ns)

    @contained
    def _start_handshake(self, now: float) -> None:
        if not self._transport.setup.running and not self._transport.connected and self.ended is None:
            # Not at nomination: Chromium nominates a lite peer 50 ms and one round trip later.
            self._output.milestone("ice", now)
            self._transport.begin(now)
            self._visits.wake_handshake(now)
            self._transport.start(now)

    def _take_turn(self, step: Step, now: float) -> None:
        self._take_turn_of_process(lambda later: self._step(step, later), now)

    @contained
    def _step(self, step: Step, now: float) -> None:
        """A step of the handshake whose turn has come."""
        if self.ended is None:
            step(now)

    def restart_ice(self, ufrag: str, client: tuple[str, str] | None = None) -> None:
        """The client restarts ICE with a new offer. Keys, SSRC, setup role and data channels stay.

        `client`: ufrag and password of that offer; without, no checks of ours go by the new ones.
        """
        self.ice.restart(ufrag, client)
        self.count_answer()

    def count_answer(self) -> None:
        """Another answer to its client goes out (RFC 3264 section 8)."""
        self.state.sdp_version += 1

    @contained
    def change_direction(self, direction: Direction, now: float) -> None:
        """Another offer of the client was answered with this direction: it holds the call, or goes on."""
        if self.ended is not None or direction == self.state.direction:
            return
        self.state.direction = direction
        self.state.listens = self.state.listens or sends(direction)
        self.sender.follow_direction(now)
        self.receiver.follow_direction()
        self._output.event(messages.DirectionChanged(direction=direction))
        self.checkpoints.touch()
        self._wake_speech(now)

    def _announce_connected(self) -> None:
        self._output.event(messages.Connected(setup_ms=self._setup_ms))
        if self.state.direction != "sendrecv":
            self._output.event(messages.DirectionChanged(direction=self.state.direction))

    def _send_by(self, path: Path, data: bytes) -> None:
        self._output.datagram(path, data)

    def _touch(self) -> None:
        self.checkpoints.touch()

    @property
    def reports(self) -> ClientReports:
        """The digests of its client's statistics."""
        return self._view.reports

    @property
    def srtp(self) -> Srtp | None:
        """What decrypts media of the client; None before its handshake is done and after the end."""
        return self._transport.srtp

    @property
    def dtls_client(self) -> bool:
        return self._transport.setup.client

    @property
    def half_open_since(self) -> float | None:
        """When the offer came, while the handshake is not done."""
        return self._consent.opened_at if not self._transport.connected and self.ended is None else None

    @property
    def suspect(self) -> bool:
        """The client has been silent for some seconds."""
        return self._consent.suspect

    @property
    def checked(self) -> bool:
        """Its client has come: a check of it was answered."""
        return self.ice.path is not None

    @property
    def setup_seconds(self) -> float:
        """From the offer to the end of the handshake; 0 before that, and for a session of another process."""
        return self._setup_ms / 1000

    @property
    def began_at(self) -> float:
        """Unix time of the offer; where that is not known, of this session's beginning here."""
        return self.state.began_at or self._consent.opened_at + self._unix_offset

    @property
    def connected(self) -> bool:
        """The handshake has finished and the session has not ended."""
        return self._transport.connected and self.ended is None

    def receive(self, datagram: bytes, path: Path, now: float, unix_ns: int) -> None:
        """A datagram that is not STUN, from a checked client address (RFC 7983 tells them apart).

        It was read at `now`, which is `unix_ns` by the wall clock.
        """
        if self.ended is None:
            try:
                self._transport.receive(datagram, path, now, unix_ns)
            except Exception:
                failed(self)

    @contained
    def take_unprotected(self, packet: bytes, now: float, unix_ns: int) -> None:
        """A packet that a lane has decrypted and counted, and that is nothing for it: the rest of the ordinary way."""
        self.receiver.receive(packet, now, unix_ns)

    # ---- from the transport ----------------------------------------------------------------------

    def packet_taken(self, now: float) -> None:
        self._visits.wake_input(now)
        if self._resumed:
            return  # not the first of the session
        self._output.milestone("first_audio_in", now)
        self._output.event(messages.MediaStarted(setup_ms=(now - self._consent.opened_at) * 1000))

    def receive_data(self, payload: bytes, now: float) -> None:
        self._channels.receive(payload, now)
        self._visits.wake_channels(now)

    def may_speak(self, now: float) -> None:
        self._wake_speech(now)

    def shook_hands(self, now: float) -> None:
        self.got_through = True
        self._connect_engines(now)
        self._output.milestone("dtls", now)
        self._setup_ms = (now - self._consent.opened_at) * 1000
        self._announce_connected()
        self._channels.start(now)
        self._wake_speech(now)

    def handshake_failed(self, text: str, now: float) -> None:
        log.warning("session %s: %s", self.state.session_id, text)
        self._output.event(messages.SessionError(message=text))
        self.end("dtls_failed", now)

    def closed_by_client(self, cause: str, now: float) -> None:
        self.end("client_closed", now, cause)

    # ---- another process -------------------------------------------------------------------------

    def export(self, now: float) -> bytes:
        """The whole session as `SessionState` writes it, for another process; ValueError before it is connected.

        Nothing that happens later is in it: `detach` has to follow.
        """
        if not self.connected:
            raise ValueError(f"session {self.state.session_id} is not connected: there is nothing to hand over yet")
        return self.checkpoints.write(now, handing_over=True)

    def restore(self, now: float) -> None:
        """Take over the state that another process wrote; `resume` follows as soon as a checkpoint of it is stored."""
        state = self.state
        if state.srtp is None or state.dtls is None or state.path_relay is None:
            raise ValueError(f"the state of session {state.session_id} was written before it was connected")
        if not state.handed_over:
            state.skip_reserved(now + self._unix_offset)
        self._resumed = self.got_through = self._reached = True
        self.ice.resume(Path(state.path_header, state.path_relay), now)
        self._transport.connect()
        self._connect_engines(now)
        self._channels.restore(now)
        self.receiver.restore()
        self.sender.restore(now)

    @contained
    def resume(self, now: float) -> None:
        """Continue where the other process stopped: the client notices nothing."""
        self._channels.resume(now)
        self.sender.end_lost_reply()
        self._wake_speech(now)

    def detach(self) -> None:
        """Free everything and send nothing: the session continues in another process."""
        self.ended = MOVED
        self._visits.end()
        self._channels.detach()
        self._transport.close()
        self.sender.close()
        self.receiver.close()
        if self._on_end is not None:
            self._on_end(self)

    def _connect_engines(self, now: float) -> None:
        assert self.srtp is not None
        self._reports.start(self.srtp.counters, self._transport.record_counters, now)
        self._channels.connect(self._transport.send_data)

    # ---- speech, messages and control ----------------------------------------------------------------

    @contained
    def send_message(self, channel: str, payload: str | bytes) -> None:
        """Send on the client's data channel of that label; kept for a while if it is not open yet."""
        if self.ended is None:
            self._channels.send(channel, payload)
            self._view.sent(channel, payload, self._channels.now)

    @property
    def client_statistics(self) -> messages.ClientStatistics | None:
        """The last digest of its client; None before the first since this process has the call."""
        return self._view.reports.last

    @contained
    def announce_draining(self, seconds: float) -> None:
        """Notify agent and client that this session will end within `seconds`; a client can call again right away."""
        self._output.event(messages.Draining(seconds=seconds))
        self._channels.announce_draining(seconds)

    @contained
    def report_error(self, text: str) -> None:
        """Publish that something the agent sent could not be used."""
        self._output.event(messages.SessionError(message=text))

    @contained
    def announce(self, event: messages.SessionEvent) -> None:
        """Publish an event that changes nothing of the call."""
        self._output.event(event)

    def promise(self, agent: str) -> None:
        """This agent has accepted, and gets the session next: checkpoints name it from now on."""
        self.state.agent = agent

    @contained
    def transfer(self, agent: str, taken: messages.ClaimReply, now: float) -> None:
        """Another agent has accepted: all that follows is for it, and the last event for the one before says so.

        What waits of the speech of the one before is not played.
        """
        self.sender.change_agent()
        self._view.turn_latency.change_agent()
        self._output.event(messages.Transferred(agent=agent, instance=taken.instance))
        self.state.agent = agent
        self._output.move(agent)
        self.receiver.change_rate(taken.input_rate)
        if self.connected:
            self._announce_connected()
            self._channels.announce_open()
        self.checkpoints.touch()
        self._wake_speech(now)

    @contained
    def announce_taken_over(self, handed_over: bool, checkpoint_age_ms: float) -> None:
        """This process goes on with the call of another one."""
        self._output.event(messages.TakenOver(handed_over=handed_over, checkpoint_age_ms=checkpoint_age_ms))

    def tap(self, mixer: CallMixer | None) -> None:
        """Both voices of the call go to `mixer` as well, as they are received and played; None: to nothing else."""
        self.receiver.tap(mixer.caller if mixer is not None else None)
        self.sender.tap(mixer.agent if mixer is not None else None)

    def speak(self, frame: AudioFrame, now: float) -> None:
        """Queue a frame of speech."""
        if self.ended is not None:
            return
        try:
            self.sender.offer(frame, now)
            self._view.turn_latency.offered(frame, now)
            self._wake_speech(now)
        except Exception:
            failed(self)

    @contained
    def control(self, control: messages.Flush | messages.Pause | messages.Resume | messages.HangUp, now: float) -> None:
        """Carry out a request of an agent, the bridge or signaling; nothing happens after the end."""
        if self.ended is not None:
            return
        match control:
            case messages.Flush(generation=generation):
                self.sender.flush(generation)
                self.checkpoints.touch()
            case messages.Pause():
                self.sender.pause()
            case messages.Resume():
                self.sender.resume()
            case messages.HangUp(reason=cause):
                if not self._channels.say_good_bye(cause):
                    self.end("hang_up", now, cause)
        self._wake_speech(now)

    def report_turn(self, report: messages.ReportTurn, now: float) -> None:
        """The agent tells what it knows of a turn's latency: for operators, and nothing of the call changes."""
        if self.ended is None and report.turn.generation <= self.sender.generation_limit:
            self._view.report_turn(report, now)

    def _round_trip_ms(self) -> float | None:
        measured = self.sender.round_trip_ms
        return measured if measured is not None else self.ice.round_trip_ms

    # ---- time ----------------------------------------------------------------------------------------

    @contained
    def poll(self, now: float) -> None:
        """Timers of the session; call every 50 ms or so."""
        if self.ended is not None:
            return
        self._client_events.poll(now)
        if (cause := self._channels.hang_up) is not None:
            self._said_good_bye_at = self._said_good_bye_at or now
            if now - self._said_good_bye_at > NOTICE_SECONDS:
                self.end("hang_up", now, cause)
                return
        given_up = self._transport.given_up(now)
        if given_up is not None:
            self.handshake_failed(given_up, now)
        self._channels.poll(now)
        if self.ended is not None:
            return
        self.ice.ask(now)
        reason = (
            "client_vanished"
            if self.ice.is_gone(now)
            else self._consent.end_reason(self.ice.last_received, self.ice.path is not None, self.srtp is not None, now)
        )
        if reason is None and self._over_budget.is_over(now):
            reason = "over_budget"
        if reason is not None:
            self.end(reason, now)
        elif self.srtp is not None:
            self._reports.poll(now)
            if self.sender.wants_tone(now):
                self._wake_speech(now)

    def statistics(self) -> messages.Statistics:
        """The call's counters so far."""
        counted = self._reports.statistics()
        round_trip_ms = counted.round_trip_ms if counted.round_trip_ms is not None else self.ice.round_trip_ms
        return counted.model_copy(
            update={
                "round_trip_ms": round_trip_ms,
                "checks_refused": self.ice.own_refused,
                "packets_over_budget": self.budget.dropped,
                "checks_replayed": self.ice.replayed,
                "events_dropped": self._client_events.dropped,
            }
        )

    def end(self, reason: messages.EndReason, now: float, cause: str = "") -> None:
        """Close towards client and agent, and free everything. Later calls do nothing."""
        if self.ended is not None:
            return
        self.ended, self.cause = reason, cause[:MAX_CAUSE]
        self._visits.end()
        try:
            self._channels.close()
            self._transport.say_closed()
        except Exception:  # a close that fails must not keep what is freed below
            log.exception("session %s: the client was not told of the end", self.state.session_id)
        self._output.event(messages.Ended(reason=reason, cause=self.cause, statistics=self.statistics()))
        self._transport.close()
        self.sender.close()
        self.receiver.close()
        if self._on_end is not None:
            self._on_end(self)
