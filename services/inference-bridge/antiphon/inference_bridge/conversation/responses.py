"""The responses of one call: a turn becomes a response, which is played, held, resumed or interrupted.

At most one response is under way. A turn's task awaits the transcription, asks the agent and speaks. At the first sound
of the caller the transceiver holds the speech (`turns.barge_in`). If the sound was no words, it resumes at the very
sample. Otherwise the task is cancelled, the transceiver flushed, and a closing task finds out what was played. If
nothing was, the caller had merely paused: the agent forgets that turn, and its text is put in front of the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any, Final

from opentelemetry import trace

from antiphon.inference_bridge.agents import Agent, ReplyPart, Request
from antiphon.inference_bridge.conversation.response_playback import ResponsePlayback, Speech
from antiphon.inference_bridge.conversation.turn import Turn, fixed_reply
from antiphon.inference_bridge.realtime_protocol.client_events import ResponseParameters
from antiphon.inference_bridge.realtime_protocol.conversation import item_of
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.server_events import CancelReason, Realtime, RealtimeResponse
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionChanges, SessionSettings
from antiphon.inference_bridge.tts.synthesizer import SPEECH_RATE
from antiphon.inference_bridge.turns.barge_in import Act, BargeInPolicy
from antiphon.runtime.agent_sessions.played_text import PlayedText
from antiphon.runtime.agent_sessions.session_bus import SessionBus
from antiphon.schemas import messages

log = logging.getLogger(__name__)

NOT_UNDERSTOOD: Final = "Sorry, could you say that again?"
TROUBLE: Final = "Sorry, something went wrong on my side. Could you say that again?"
MAX_UNANSWERED: Final = 20
"""Texts that wait for a `response.create`. Beyond it the oldest are not answered; their items stay on record."""
MAX_TEXT: Final = 4000
"""Characters that an agent is asked at once, the last of them: two minutes of speech. A typed text may be longer; it is
on record whole, and a language model reads it there."""
MAX_REPLY: Final = 20_000
"""Characters of an answer, some 20 minutes of speech, whatever agent makes it; the rest is not asked for."""
MAX_CLOSING: Final = 16
"""Responses that were stopped and wait until it is known what was played of them. Above it `response.create` is
refused."""
_LEDGERS: Final = 20
"""Responses that a client can still truncate by time."""


class Responses:
    """Decides what one call's agent answers, and stops it when the caller interrupts.

    Owned by the call's session, for as long as the call. `TurnHandling` and `ClientCommands` call it, all on the event
    loop. It owns the turn under way and the agent.
    """

    def __init__(
        self,
        bus: SessionBus,
        realtime: Realtime,
        agent: Agent,
        speech: Speech,
        settings: SessionSettings,
        instructions: str,
        first_generation: int,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        span: Callable[[str, int | None], trace.Span],
        changed: Callable[[], None],
        caller_is_speaking: Callable[[], bool],
        hang_up: Callable[[str], Awaitable[None]],
        carried: str = "",
    ) -> None:
        """`instructions`: for a session that has none. `first_generation`: below the first response's.

        `spawn` and `span`: make tasks and spans that end with the call. `changed`: called when the state that another
        process would need has changed. `hang_up(why)`: ends the call.

        `carried`: text that a process before this one has left unanswered.
        """
        self.settings = settings
        self.barge_in = BargeInPolicy()
        self.turn: Turn | None = None
        """The turn whose response is under way."""
        self.idle_since: float | None = time.monotonic()
        """`time.monotonic()` at which the agent fell silent; None while a response is under way."""
        self.carried = carried
        """Text of turns that were undone because the caller spoke on; the next turn begins with it."""
        self.agent = agent
        self._bus, self._realtime, self._speech = bus, realtime, speech
        self._instructions, self._generation = instructions, first_generation
        self._spawn, self._new_span, self._changed = spawn, span, changed
        self._caller_is_speaking = caller_is_speaking
        self._hang_up = hang_up
        self._next: Turn | None = None
        """Waits for the response under way, in sessions whose callers can't interrupt."""
        self._unanswered: list[asyncio.Task[str] | str] = []
        self._to_close: deque[tuple[Turn, CancelReason]] = deque()
        """Turns that were interrupted, in their order; bounded by `MAX_CLOSING`, above it turns without a response."""
        self._closing: asyncio.Task[None] | None = None
        """Closes them one by one, while there are any."""
        self._held_at = 0.0
        self._ledgers: OrderedDict[str, PlayedText] = OrderedDict()

    def span(self, name: str, start_ns: int | None = None) -> trace.Span:
        """A new span of this call. `start_ns`: Unix, ns; None: now."""
        return self._new_span(name, start_ns)

    def change_settings(self, changes: SessionChanges) -> None:
        """Other settings, in force at once for what begins from now on."""
        self.settings = self.settings.changed(changes)

    # ---- turns to be answered ------------------------------------------------------------------------

    def add_unanswered(self, text: asyncio.Task[str] | str) -> None:
        """A text, or its transcription, that waits for a `response.create`."""
        self._unanswered = [*self._unanswered, text][-MAX_UNANSWERED:]

    def respond(self, parameters: ResponseParameters | None) -> None:
        """The client wants an answer to the conversation so far; interrupts the response under way."""
        if len(self._to_close) >= MAX_CLOSING:
            text = f"{MAX_CLOSING} responses that were stopped are being closed: wait for a response.done"
            raise ClientError(text, "rate_limit_exceeded")
        if self.turn:
            self.interrupt("turn_detected")
        turn = Turn(self.span("turn"), parameters=parameters, asked_by_client=True)
        turn.transcription = self._spawn(self._take_unanswered())
        self.begin(turn)

    def answer(self, turn: Turn) -> None:
        """The caller's turn has ended: answer it, or keep it until that is possible."""
        if not self.settings.creates_responses and not turn.asked_by_client:
            assert turn.transcription is not None
            self.add_unanswered(turn.transcription)
            turn.span.end()
        elif self.turn is None:
            self.begin(turn)
        elif self._next is None:
            self._next = turn
        else:
            assert turn.transcription is not None
            self.add_unanswered(turn.transcription)
            turn.span.end()

    def speak(self, text: str, name: str) -> None:
        """Speak a fixed text, such as the greeting. `name`: of its span."""
        self.begin(Turn(self.span(name), fixed=text))

    def begin(self, turn: Turn) -> None:
        """Answer this turn now; a response under way is interrupted."""
        if self.turn:  # possible only when a greeting races with the first turn
            self.interrupt("turn_detected")
        self.turn, self.idle_since = turn, None
        turn.task = self._spawn(self._answer(turn))
        if self.settings.interrupts and self._caller_is_speaking():  # spoke on after what this turn answers
            self.apply(self.barge_in.speech_started(time.monotonic(), agent_active=True))

    async def _take_unanswered(self) -> str:
        unanswered, self._unanswered = self._unanswered, []
        texts = [text if isinstance(text, str) else await asyncio.shield(text) for text in unanswered]
        return " ".join(filter(None, texts))

    async def _answer(self, turn: Turn) -> None:
        """From the transcription to the last sample of the response."""
        try:
            if self._closing:
                await asyncio.shield(self._closing)
            parts = await self._parts(turn)
            if parts is None:
                return
            playback = turn.playback = self._playback(turn)
            await playback.run(parts)
            if playback.failed:
                playback.response.done("failed", "", 0, failure="no speech could be made of the answer")
            else:
                playback.response.done("completed", playback.text, 0)
            self._report_played(turn, playback.text)
            if playback.hang_up:
                await self._hang_up("agent")
        finally:
            if self.turn is turn:  # else it was interrupted, and is closed elsewhere
                self.turn = None
                turn.span.end()
                self._response_ended()

    def _response_ended(self) -> None:
        """The agent is silent again; the next turn may begin."""
        self.idle_since = time.monotonic()
        if self.barge_in.holding:  # the caller makes a sound, but there is nothing left to hold
            self.barge_in.released()
            self._spawn(self._bus.resume())
        self._changed()
        if self._next:
            following, self._next = self._next, None
            self.begin(following)

    def _playback(self, turn: Turn) -> ResponsePlayback:
        asked = turn.parameters
        modalities = asked.output_modalities if asked and asked.output_modalities else self.settings.output_modalities
        response = RealtimeResponse(
            self._realtime, "audio" in modalities, turn.on_record, asked.metadata if asked else None
        )
        playback = ResponsePlayback(
            self._bus,
            self._realtime,
            self._speech,
            self._new_generation(),
            response,
            partial(self._first_audio, turn),
            self._new_generation,
            self.settings.speed,
            self.barge_in.holding,
        )
        self._ledgers[response.item_id] = playback.ledger
        if len(self._ledgers) > _LEDGERS:
            self._ledgers.popitem(last=False)
        return playback

    def _new_generation(self) -> int:
        self._generation += 1
        return self._generation

    async def _parts(self, turn: Turn) -> AsyncGenerator[ReplyPart, None] | None:
        """The parts to be spoken; None for nothing."""
        if turn.fixed:
            return fixed_reply(turn.fixed)
        assert turn.transcription is not None
        text = await asyncio.shield(turn.transcription)
        if not text and not self.carried and not turn.asked_by_client:
            return fixed_reply(NOT_UNDERSTOOD) if turn.interrupts or turn.transcription_failed else None
        waiting = "" if turn.asked_by_client else await self._take_unanswered()
        turn.text = " ".join(filter(None, (waiting, self.carried, text)))[-MAX_TEXT:]
        self.carried = ""
        turn.asked, turn.agent_before = True, self.agent.saved()
        self._changed()
        turn.span.set_attribute("antiphon.heard_characters", len(turn.text))
        return self._guarded(self.agent.reply(self._request(turn)), turn.preamble)

    def _request(self, turn: Turn) -> Request:
        asked, settings = turn.parameters or ResponseParameters(), self.settings
        items = self._realtime.conversation.items
        if asked.input is not None:
            items = [item_of(item, item.id or "input") for item in asked.input]
        limit = asked.max_output_tokens or settings.max_output_tokens
        tools = settings.tools if asked.tools is None else asked.tools
        choice = asked.tool_choice or settings.tool_choice
        return Request(
            turn.text,
            datetime.now().astimezone(),
            items,
            asked.instructions or settings.instructions or self._instructions,
            [tool.model_dump() for tool in tools],
            choice if isinstance(choice, str) else choice.model_dump(),
            None if limit == "inf" else limit,
        )

    async def _guarded(self, parts: AsyncGenerator[ReplyPart, None], preamble: str) -> AsyncGenerator[ReplyPart, None]:
        """An agent that raises is not the end of the call."""
        if preamble:
            yield f"{preamble} "
        length = 0
        try:
            async with contextlib.aclosing(parts):
                async for part in parts:
                    length += len(part) if isinstance(part, str) else 1
                    if length > MAX_REPLY:
                        log.warning("%s: an answer beyond %d characters is cut", self._bus.session_id, MAX_REPLY)
                        return
                    yield part
        except Exception:
            log.exception("%s: the agent failed", self._bus.session_id)
            yield f" {TROUBLE}"

    def _report_played(self, turn: Turn, text: str) -> None:
        if turn.asked:
            self.agent.played(text if turn.on_record else "")
        elif turn.fixed:
            self.agent.greeting_played(text)

    # ---- the caller makes a sound --------------------------------------------------------------------

    def apply(self, act: Act | None) -> None:
        """Carry out what the barge-in policy has decided."""
        if act is Act.HOLD:
            self._held_at = time.monotonic()
            if self.turn and self.turn.playback:
                self.turn.playback.hold()
            self._spawn(self._hold())
        elif act is Act.RESUME:
            held_ms = (time.monotonic() - self._held_at) * 1000
            if self.turn and self.turn.playback:
                self.turn.playback.resume()
            self._spawn(self._bus.resume())
            self._realtime.emit("antiphon.false_interruption", held_ms=round(held_ms, 1))
        elif act is Act.INTERRUPT:
            self.interrupt("turn_detected")

    async def _hold(self) -> None:
        if not await self._bus.pause() and self.barge_in.holding:  # what can't be held has to stop
            self.interrupt("turn_detected")

    def asked_something(self) -> bool:
        """The response under way holds a question: then a "yes" is an answer and no backchannel."""
        return bool(self.turn and self.turn.playback and "?" in self.turn.playback.text)

    # ---- interruption --------------------------------------------------------------------------------

    def interrupt(self, reason: CancelReason) -> bool:
        """Stop the response that is prepared or played; True if there was one."""
        turn, self.turn = self.turn, None
        self.barge_in.released()
        if turn is None or turn.task is None:
            return False
        self.idle_since = time.monotonic()
        turn.task.cancel()
        if len(self._to_close) >= 2 * MAX_CLOSING and turn.playback is None:  # it has asked nothing and sent nothing
            log.warning("%s: %d responses wait to be closed, one is forgotten", self._bus.session_id, 2 * MAX_CLOSING)
            turn.span.end()
            return True
        self._to_close.append((turn, reason))
        if self._closing is None or self._closing.done():
            self._closing = self._spawn(self._close_turns())
        return True

    async def _close_turns(self) -> None:
        """One after the other; a turn that begins meanwhile waits until all are closed."""
        while self._to_close:
            turn, reason = self._to_close[0]
            try:
                await self._close_turn(turn, reason)
            except Exception:  # the turns behind it, and the next response, must not wait for ever
                log.exception("%s: an interrupted response was not closed in order", self._bus.session_id)
            self._to_close.popleft()

    async def _close_turn(self, turn: Turn, reason: CancelReason) -> None:
        assert turn.task is not None
        await asyncio.wait([turn.task])
        text, played_ms = "", 0
        if turn.playback:
            text, played_ms = await turn.playback.stop()
            turn.playback.response.done("cancelled", text, played_ms, reason)
        if self._bus.paused:  # nothing had been sent, so nothing was flushed
            await self._bus.resume()
        self._report_played(turn, text)
        if not text and turn.transcription and reason == "turn_detected" and turn.on_record:
            unanswered = turn.text if turn.asked else await turn.transcription
            self.carried = f"{self.carried} {unanswered}".strip()[-MAX_TEXT:]
        turn.span.set_attribute("antiphon.interrupted", True)
        turn.span.end()
        self._changed()

    def played_text(self, item_id: str, audio_ms: int) -> str | None:
        """The words in the first `audio_ms` of a response; None if that is beyond its end, or it is too old."""
        ledger = self._ledgers.get(item_id)
        samples = audio_ms * SPEECH_RATE // 1000
        if ledger is None or samples > ledger.samples:
            return None
        return ledger.up_to(samples)

    def playout(self, event: messages.Playout) -> None:
        """The transceiver reports how far it has played."""
        if self.turn and self.turn.playback:
            self.turn.playback.playout(event)

    def transceiver_lost(self, stopped_at: float) -> None:
        """The transceiver was killed at `stopped_at` (`time.monotonic()`), and another one has the call.

        The speech that waited in the first one is sent again.
        """
        if self.turn and self.turn.playback:
            self._spawn(self.turn.playback.retransmit(stopped_at))

    def _first_audio(self, turn: Turn) -> None:
        """The first frame of a response was published: report how long the caller waited, and for what."""
        assert turn.playback is not None
        latency = turn.latency_ms()
        if not latency:
            return
        for name, value in latency.items():
            turn.span.set_attribute(f"antiphon.{name}", value)
        self._realtime.emit("antiphon.latency", item_id=turn.item_id, response_id=turn.playback.response.id, **latency)
