"""The talking of one call: turns become answers, answers are held, gone on with, or interrupted.

At most one reply is under way. A turn's task waits for the transcription, asks the agent and speaks. At the first
sound of the caller the transceiver holds the speech (`turns.floor`); if the sound was no more than a sound, it goes on
at the very sample. Otherwise the task is cancelled, the transceiver flushed, and a closing task finds out what was
heard. If nothing was, the caller had merely paused: the agent forgets that turn, and its text is put in front of the
next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any, Final

from opentelemetry import trace

from antiphon.inference_bridge.agents import Agent, ReplyPart, Request
from antiphon.inference_bridge.conversation.playout_tracking import SpeechLedger
from antiphon.inference_bridge.conversation.response_playback import ResponsePlayback, Speech
from antiphon.inference_bridge.conversation.session_bus import SessionBus
from antiphon.inference_bridge.conversation.turn import Turn, say
from antiphon.inference_bridge.realtime_protocol.client_events import ResponseParameters
from antiphon.inference_bridge.realtime_protocol.conversation import item_of
from antiphon.inference_bridge.realtime_protocol.server_events import CancelReason, Realtime, RealtimeResponse
from antiphon.inference_bridge.realtime_protocol.session_settings import SessionSettings
from antiphon.inference_bridge.turns.barge_in import Act, BargeInPolicy
from antiphon.schemas import messages

log = logging.getLogger(__name__)

NOT_HEARD: Final = "Sorry, could you say that again?"
TROUBLE: Final = "Sorry, something went wrong on my side. Could you say that again?"
MAX_UNANSWERED: Final = 20
_LEDGERS: Final = 20
"""Replies that a client can still truncate by time."""


class Responses:
    """Of one call; everything here runs on the event loop."""

    def __init__(
        self,
        line: SessionBus,
        realtime: Realtime,
        agent: Agent,
        speech: Speech,
        settings: SessionSettings,
        instructions: str,
        first_generation: int,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        span: Callable[[str, int | None], trace.Span],
        changed: Callable[[], None],
    ) -> None:
        """`instructions`: where the session has none. `changed`: the conversation is not what it was."""
        self.settings = settings
        self.barge_in = BargeInPolicy()
        self.turn: Turn | None = None
        self.idle_since: float | None = time.monotonic()
        self.carried = ""
        """What was said and never answered, because the caller went on."""
        self.agent = agent
        self.caller_speaks: Callable[[], bool] = lambda: False
        self._line, self._realtime, self._speech = line, realtime, speech
        self._instructions, self._generation = instructions, first_generation
        self._spawn, self._new_span, self._changed = spawn, span, changed
        self._next: Turn | None = None
        """What waits for the reply under way, where callers can't interrupt."""
        self._unanswered: list[asyncio.Task[str] | str] = []
        self._closing: asyncio.Task[None] | None = None
        self._closed_turn: Turn | None = None
        """The turn that was interrupted last: a `Flushed` is about it."""
        self._held_at = 0.0
        self._ledgers: OrderedDict[str, SpeechLedger] = OrderedDict()

    def span(self, name: str, start_ns: int | None = None) -> trace.Span:
        return self._new_span(name, start_ns)

    # ---- what is to be answered ----------------------------------------------------------------------

    def note(self, said: asyncio.Task[str] | str) -> None:
        """Something was said that waits for a `response.create`."""
        self._unanswered = [*self._unanswered, said][-MAX_UNANSWERED:]

    def respond(self, parameters: ResponseParameters | None) -> None:
        """The client wants an answer to what there is."""
        if self.turn:
            self.interrupt("turn_detected")
        turn = Turn(self.span("turn"), parameters=parameters, asked_by_client=True)
        turn.hearing = self._spawn(self._gather())
        self.begin(turn)

    def answer(self, turn: Turn) -> None:
        """The caller's turn is over: answer, or wait until that is possible."""
        if not self.settings.creates_responses and not turn.asked_by_client:
            assert turn.hearing is not None
            self.note(turn.hearing)
            turn.span.end()
        elif self.turn is None:
            self.begin(turn)
        elif self._next is None:
            self._next = turn
        else:
            assert turn.hearing is not None
            self.note(turn.hearing)
            turn.span.end()

    def say(self, text: str, name: str) -> None:
        """A fixed text, such as the greeting."""
        self.begin(Turn(self.span(name), fixed=text))

    def begin(self, turn: Turn) -> None:
        if self.turn:  # possible only when a greeting races with the first turn
            self.interrupt("turn_detected")
        self.turn, self.idle_since = turn, None
        turn.task = self._spawn(self._answer(turn))
        if self.settings.interrupts and self.caller_speaks():  # went on after what this turn answers
            self.act(self.barge_in.speech_started(time.monotonic(), agent_active=True))

    async def _gather(self) -> str:
        unanswered, self._unanswered = self._unanswered, []
        texts = [said if isinstance(said, str) else await asyncio.shield(said) for said in unanswered]
        return " ".join(filter(None, texts))

    async def _answer(self, turn: Turn) -> None:
        """From what was said to the last sample of the reply."""
        try:
            if self._closing:
                await asyncio.shield(self._closing)
            parts = await self._parts(turn)
            if parts is None:
                return
            reply = turn.reply = self._reply(turn)
            await reply.run(parts)
            if reply.failed:
                reply.response.done("failed", "", 0, failure="no speech could be made of the answer")
            else:
                reply.response.done("completed", reply.text, 0)
            self._tell_agent(turn, reply.text)
            if reply.hang_up:
                await self._line.hang_up("agent")
        finally:
            if self.turn is turn:  # else it was interrupted, and is closed elsewhere
                self.turn = None
                turn.span.end()
                self._over()

    def _over(self) -> None:
        """Nobody speaks for the agent any more."""
        self.idle_since = time.monotonic()
        if self.barge_in.holding:  # the caller makes a sound, but there is nothing left to hold
            self.barge_in.released()
            self._spawn(self._line.resume())
        self._changed()
        if self._next:
            following, self._next = self._next, None
            self.begin(following)

    def _reply(self, turn: Turn) -> ResponsePlayback:
        asked = turn.parameters
        modalities = asked.output_modalities if asked and asked.output_modalities else self.settings.output_modalities
        response = RealtimeResponse(
            self._realtime, "audio" in modalities, turn.on_record, asked.metadata if asked else None
        )
        reply = ResponsePlayback(
            self._line,
            self._realtime,
            self._speech,
            self._new_generation(),
            response,
            partial(self._first_audio, turn),
            self._new_generation,
            self.settings.speed,
            self.barge_in.holding,
        )
        self._ledgers[response.item_id] = reply.ledger
        if len(self._ledgers) > _LEDGERS:
            self._ledgers.popitem(last=False)
        return reply

    def _new_generation(self) -> int:
        self._generation += 1
        return self._generation

    async def _parts(self, turn: Turn) -> AsyncGenerator[ReplyPart, None] | None:
        """What to say; None for nothing."""
        if turn.fixed:
            return say(turn.fixed)
        assert turn.hearing is not None
        text = await asyncio.shield(turn.hearing)
        if not text and not self.carried and not turn.asked_by_client:
            return say(NOT_HEARD) if turn.interrupts or turn.unheard else None
        waiting = "" if turn.asked_by_client else await self._gather()
        turn.text = " ".join(filter(None, (waiting, self.carried, text)))
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
        try:
            async with contextlib.aclosing(parts):
                async for part in parts:
                    yield part
        except Exception:
            log.exception("%s: the agent failed", self._line.session_id)
            yield f" {TROUBLE}"

    def _tell_agent(self, turn: Turn, heard: str) -> None:
        if turn.asked:
            self.agent.played(heard if turn.on_record else "")
        elif turn.fixed:
            self.agent.greeting_played(heard)

    # ---- the caller makes a sound --------------------------------------------------------------------

    def act(self, act: Act | None) -> None:
        """Do what the floor says."""
        if act is Act.HOLD:
            self._held_at = time.monotonic()
            if self.turn and self.turn.reply:
                self.turn.reply.hold()
            self._spawn(self._hold())
        elif act is Act.RESUME:
            held_ms = (time.monotonic() - self._held_at) * 1000
            if self.turn and self.turn.reply:
                self.turn.reply.go_on()
            self._spawn(self._line.resume())
            self._realtime.emit("antiphon.false_interruption", held_ms=round(held_ms, 1))
        elif act is Act.INTERRUPT:
            self.interrupt("turn_detected")

    async def _hold(self) -> None:
        if not await self._line.pause() and self.barge_in.holding:  # it can't hold: then it has to stop
            self.interrupt("turn_detected")

    def asked_something(self) -> bool:
        """What the agent says holds a question: a yes is an answer then, and no mere sign of listening."""
        return bool(self.turn and self.turn.reply and "?" in self.turn.reply.text)

    # ---- interruption --------------------------------------------------------------------------------

    def interrupt(self, reason: CancelReason) -> bool:
        """Stop what is being said or prepared; True if there was something."""
        turn, self.turn = self.turn, None
        self.barge_in.released()
        if turn is None or turn.task is None:
            return False
        self.idle_since = time.monotonic()
        turn.task.cancel()
        before, self._closed_turn = self._closing, turn
        self._closing = self._spawn(self._close_turn(turn, reason, before))
        return True

    async def _close_turn(self, turn: Turn, reason: CancelReason, before: asyncio.Task[None] | None) -> None:
        assert turn.task is not None
        if before:
            await before
        await asyncio.wait([turn.task])
        heard, heard_ms = "", 0
        if turn.reply:
            heard, heard_ms = await turn.reply.interrupted()
            turn.reply.response.done("cancelled", heard, heard_ms, reason)
        if self._line.paused:  # nothing was there to be flushed
            await self._line.resume()
        self._tell_agent(turn, heard)
        if not heard and turn.hearing and reason == "turn_detected" and turn.on_record:
            said = turn.text if turn.asked else await turn.hearing
            self.carried = f"{self.carried} {said}".strip()
        turn.span.set_attribute("antiphon.interrupted", True)
        turn.span.end()
        self._changed()

    def heard_of(self, item_id: str, audio_ms: int) -> str | None:
        """The words of a reply in its first `audio_ms`; None if that is not known (any more) or beyond its end."""
        ledger = self._ledgers.get(item_id)
        if ledger is None or audio_ms * 24 > ledger.samples:
            return None
        return ledger.heard(audio_ms * 24)

    def playout(self, event: messages.Playout) -> None:
        if self.turn and self.turn.reply:
            self.turn.reply.playout(event)

    def transceiver_lost(self, stopped_at: float) -> None:
        """It was killed at this time, with the speech that waited in it; another one has the call."""
        if self.turn and self.turn.reply:
            self._spawn(self.turn.reply.say_again(stopped_at))

    def flushed(self, event: messages.Flushed) -> None:
        turn = self._closed_turn
        if turn and turn.reply:
            turn.reply.flushed(event)

    def _first_audio(self, turn: Turn) -> None:
        """The first frame of a reply was published: say how long the caller waited, and for what."""
        assert turn.reply is not None
        latency = turn.latency_ms()
        if not latency:
            return
        for name, value in latency.items():
            turn.span.set_attribute(f"antiphon.{name}", value)
        self._realtime.emit("antiphon.latency", item_id=turn.item_id, response_id=turn.reply.response.id, **latency)
