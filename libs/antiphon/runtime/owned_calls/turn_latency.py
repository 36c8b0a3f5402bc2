"""The parts of a turn's latency that the owner of a call measures: publish, playout and send, network and client. Pure.

The agent reports a turn when it publishes the first frame of an answer, and again when the turn has ended. Here frames
are watched as they come and leave, so that both meet, whichever comes first. An agent's numbers are not trusted: each
is bounded, and what is kept is bounded by construction. The clocks of both processes cancel out in the sum: what
`receive` has too much because they differ, `publish` has too little.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from antiphon.runtime.token_bucket import TokenBucket
from antiphon.schemas import messages
from antiphon.schemas.audio import AudioFrame

MAX_TURNS: Final = 8
"""Turns that are followed; when another one comes, the oldest goes as it is known."""
TURNS: Final = (2, 20)
"""New turns per second and at once; what an agent reports above it is ignored."""
GAP: Final = 0.05
"""Seconds without a frame of a generation, after which what comes next begins anew: an answer behind "one moment"."""
MAX_SECONDS: Final = 600.0
MAX_NUMBER: Final = 1 << 31
AGENT_PARTS: Final = ("receive", "end_of_turn", "stt", "agent", "tts")
"""The parts that an agent may report, in order; the others are measured here."""


class Network(NamedTuple):
    """What lies between us and the client's ear at a moment, ms; None: not known."""

    round_trip_ms: float | None = None
    jitter_buffer_ms: float | None = None
    """Of the client, as it reports it."""


class Stretch(NamedTuple):
    """One of our own parts, in Unix time."""

    part: str
    begins: float
    ends: float


class Told(NamedTuple):
    """A turn as it is known now."""

    turn: messages.Turn
    stretches: tuple[Stretch, ...]
    """Our own parts, for spans; empty where they were told before, or nothing was played."""


@dataclass(eq=False)
class _Burst:
    """A frame that came behind a gap, or is the first of its generation."""

    generation: int
    first_sample: int
    came: float
    left: float = 0.0
    """When it was taken out of the queue; 0: not yet."""
    sent: float = 0.0


@dataclass(eq=False)
class _Turn:
    number: int
    report: messages.ReportTurn
    burst: _Burst | None = None
    turn: messages.Turn | None = None
    """As it was told, with our own parts."""
    ended: bool = False


class TurnLatency:
    """The turns of one call.

    Owner: the transceiver's `Session`, or the `WebSocketCall`, for its whole life; the sender tells it of frames. Used
    on the event loop only.
    """

    def __init__(
        self,
        tell: Callable[[Told], None],
        network: Callable[[], Network],
        now: float,
        unix_offset: float = 0.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`tell`: gets each turn when its first sample has left, and when it has ended.

        `unix_offset`: Unix time less the time that `now` counts. `clock`: counts like `now`, and goes on inside one
        step of the sender; without it sending takes no time.
        """
        self.waits = False
        """The sender is to call `leaves` for the frames that leave."""
        self.turns = 0
        """How many there were."""
        self._tell, self._network, self._unix_offset, self._clock = tell, network, unix_offset, clock
        self._bursts: deque[_Burst] = deque(maxlen=2 * MAX_TURNS)
        self._newest, self._newest_at = -1, 0.0
        self._turns: OrderedDict[int, _Turn] = OrderedDict()
        self._rate = TokenBucket(*TURNS)

    def restore(self, turns: int, last: messages.Turn | None) -> None:
        """Go on where another process has stopped: the end of its last turn may come to us."""
        self.turns = max(0, min(turns, MAX_NUMBER))
        if last is not None and last.end is None:
            report = messages.ReportTurn(turn=last, last_sample=0, published=0)
            self._turns[last.generation] = _Turn(last.number, report, turn=last)

    def change_agent(self) -> None:
        """Another agent speaks, which counts its generations for itself."""
        self._turns.clear()
        self._bursts.clear()
        self._newest, self.waits = -1, False

    # ---- the frames ------------------------------------------------------------------------------------

    def offered(self, frame: AudioFrame, now: float) -> None:
        """A frame has come into the queue."""
        generation = frame.generation
        if generation != self._newest or now - self._newest_at > GAP:
            burst = _Burst(generation, frame.first_sample, now)
            self._bursts.append(burst)
            self.waits = True
            turn = self._turns.get(generation)
            if turn is not None and turn.burst is None and turn.report.published:
                turn.burst = burst  # the report was faster than the frame
        self._newest, self._newest_at = generation, now

    def leaves(self, generation: int, samples: int, now: float) -> None:
        """The sender took a frame at `now` and has sent it: so many samples of this generation have left with it."""
        waits = False
        for burst in self._bursts:
            if burst.left or burst.generation < generation:
                continue
            if burst.generation == generation and burst.first_sample < samples:
                burst.left, burst.sent = now, max(now, self._clock() if self._clock is not None else now)
                turn = self._turns.get(generation)
                if turn is not None and turn.burst is burst:
                    self._tell_turn(turn)
            else:
                waits = True
        self.waits = waits

    # ---- the agent's reports -----------------------------------------------------------------------------

    def reported(self, report: messages.ReportTurn, now: float) -> None:
        """What the agent knows of a turn. One that has ended is not changed any more."""
        told = report.turn
        if told.generation >= 1 << 62:
            return
        turn = self._turns.get(told.generation)
        if turn is None:
            if not self._rate.take(1, now) or self.turns >= MAX_NUMBER:
                return
            self.turns += 1
            turn = self._turns[told.generation] = _Turn(self.turns, report)
            while len(self._turns) > MAX_TURNS:
                self._turns.popitem(last=False)
        elif turn.ended:
            return
        if turn.turn is None:
            turn.report = self._bounded(report, now)
            if report.published and turn.burst is None:
                turn.burst = next((each for each in reversed(self._bursts) if each.generation == told.generation), None)
        turn.ended = told.end is not None
        if turn.turn is not None:
            if turn.ended:
                tools = told.tools or turn.turn.tools
                self._tell(Told(turn.turn.model_copy(update={"end": told.end, "tools": tools}), ()))
        elif turn.burst is not None and turn.burst.left:
            self._tell_turn(turn)
        elif turn.ended:
            parts = messages.TurnParts(**_of_agent(turn.report.turn.parts))
            turn.turn = turn.report.turn.model_copy(update={"number": turn.number, "parts": parts})
            self._tell(Told(turn.turn, ()))

    def _bounded(self, report: messages.ReportTurn, now: float) -> messages.ReportTurn:
        unix = now + self._unix_offset
        began = report.turn.began
        began = max(unix - MAX_SECONDS, min(began, unix)) if began == began else unix  # NaN is not equal to itself
        return report.model_copy(update={"turn": report.turn.model_copy(update={"began": began})})

    def _tell_turn(self, turn: _Turn) -> None:
        """The first sample has left: all is known but the end, and perhaps that as well."""
        burst, reported = turn.burst, turn.report.turn
        assert burst is not None
        parts = _of_agent(reported.parts)
        came = burst.came + self._unix_offset
        spent = sum(parts.values())
        publish = (came - reported.began) * 1000 - spent
        if publish < 0:
            # The agent's clock is ahead of ours, so that its first part is too long; or its numbers are wrong.
            for name in parts:
                less = min(parts[name], -publish)
                parts[name] -= less
                publish += less
            publish = max(0.0, publish)
        stretches = [
            Stretch("publish", came - min(publish / 1000, MAX_SECONDS), came),
            Stretch("playout", came, burst.left + self._unix_offset),
            Stretch("send", burst.left + self._unix_offset, burst.sent + self._unix_offset),
        ]
        network, began, sent = self._network(), reported.began, stretches[-1].ends
        if network.round_trip_ms is not None:
            one_way = max(0.0, min(network.round_trip_ms / 2000, MAX_SECONDS))
            if reported.parts.end_of_turn is not None:  # else no sample of the caller was on its way
                began -= one_way
                stretches.insert(0, Stretch("uplink", began, began + one_way))
            stretches.append(Stretch("downlink", sent, sent + one_way))
        if network.jitter_buffer_ms is not None:
            at = stretches[-1].ends
            buffered = max(0.0, min(network.jitter_buffer_ms / 1000, MAX_SECONDS))
            stretches.append(Stretch("client", at, at + buffered))
        for each in stretches:
            parts[each.part] = min(MAX_SECONDS, max(0.0, each.ends - each.begins)) * 1000
        rounded = messages.TurnParts(**{name: round(ms, 2) for name, ms in parts.items()})
        turn.turn = reported.model_copy(update={"number": turn.number, "began": max(0.0, began), "parts": rounded})
        self._tell(Told(turn.turn, tuple(stretches)))


def _of_agent(parts: messages.TurnParts) -> dict[str, float]:
    named = ((name, getattr(parts, name)) for name in AGENT_PARTS)
    return {name: ms for name, ms in named if ms is not None and ms == ms}
