"""Runs what the conversation core decides for one call: the shell around `core`, which decides nothing.

Events go in by `feed`, from the detector of turns, the client, the transceiver and our own tasks; commands come out and
are carried out in their order. An event that comes while commands are carried out waits until they are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from antiphon.inference_bridge.agents import Agent
from antiphon.inference_bridge.agents.profile import AgentProfile
from antiphon.inference_bridge.conversation.core import commands as do
from antiphon.inference_bridge.conversation.core import events
from antiphon.inference_bridge.conversation.core.commands import Command
from antiphon.inference_bridge.conversation.core.events import Event
from antiphon.inference_bridge.conversation.core.machine import ConversationCore
from antiphon.inference_bridge.conversation.core.state import Rules, State, Transfer
from antiphon.inference_bridge.conversation.response_playback import Speech
from antiphon.inference_bridge.conversation.response_tasks import ResponseTasks
from antiphon.inference_bridge.conversation.transcriptions import Transcriptions
from antiphon.inference_bridge.conversation.turn_spans import FALSE_INTERRUPTION, TurnSpans
from antiphon.inference_bridge.input.vad_pipeline import VadPipeline
from antiphon.inference_bridge.models.smart_turn import EndOfTurn
from antiphon.inference_bridge.realtime_protocol.client_events import ResponseParameters
from antiphon.inference_bridge.realtime_protocol.conversation import INTERNAL, JsonObject, text_of
from antiphon.inference_bridge.realtime_protocol.errors import ClientError
from antiphon.inference_bridge.realtime_protocol.mcp_items import items_for_agent
from antiphon.inference_bridge.realtime_protocol.server_events import Realtime
from antiphon.inference_bridge.realtime_protocol.session_settings import SemanticVad, ServerVad, SessionSettings
from antiphon.inference_bridge.realtime_protocol.speech_support import SpeechSupport
from antiphon.inference_bridge.turns.expected_answer import Expected
from antiphon.runtime.agent_sessions.handed_call import handed_call
from antiphon.runtime.agent_sessions.session_bus import ControlOutcome, SessionBus

log = logging.getLogger(__name__)

_TRANSFER_SECONDS: Final = 5.0
"""For the outcome of a transfer: twice the time of a claim."""


def rules_of(settings: SessionSettings, support: SpeechSupport, patience_ms: int, profile: AgentProfile) -> Rules:
    """What the core decides by."""
    detection = settings.turn_detection
    return Rules(
        creates_responses=settings.creates_responses,
        interrupts=settings.interrupts,
        idle_timeout_ms=detection.idle_timeout_ms if isinstance(detection, ServerVad) else None,
        transcribes=settings.transcription is not None,
        semantic=isinstance(detection, SemanticVad),
        spoken=settings.spoken,
        language=settings.language or support.language,
        patience_ms=patience_ms,
        silence_ms=profile.silence_ms,
        silence_prompts=tuple(profile.silence_prompts),
    )


class ConversationRunner:
    """The conversation of one call, at work.

    Owned by the call's session, for as long as the call; used on the event loop. It owns the core, the transcriptions
    and the responses.
    """

    def __init__(
        self,
        state: State,
        bus: SessionBus,
        realtime: Realtime,
        agent: Agent,
        make_agent: Callable[[], Agent],
        speech: Speech,
        settings: SessionSettings,
        support: SpeechSupport,
        instructions: str,
        patience_ms: int,
        first_generation: int,
        pipeline: VadPipeline,
        end_of_turn: EndOfTurn | None,
        spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
        turn_spans: TurnSpans,
        changed: Callable[[], None],
        hang_up: Callable[[str], Coroutine[Any, Any, None]],
        events_sent: Callable[[], Coroutine[Any, Any, None]],
        profile: AgentProfile,
        session: JsonObject | None = None,
    ) -> None:
        """`state`: of a call that begins, or is taken over. `first_generation`: below the first response's.

        `spawn`: makes tasks that end with the call. `turn_spans`: of its own turns. `changed`: the state that
        another process would need has changed. `hang_up(why)`: ends the call. `events_sent`: returns when the client
        has been sent all events so far, or after a while. `profile`: of the agent. `session`: the client's settings as
        in the claim.
        """
        self.settings, self._support, self._profile = settings, support, profile
        state.rules = rules_of(settings, support, patience_ms, profile)
        self.core = ConversationCore(state)
        self._bus, self._realtime, self._patience_ms = bus, realtime, patience_ms
        self._spawn, self._changed, self._hang_up = spawn, changed, hang_up
        self._events_sent = events_sent
        self._turn_spans = turn_spans
        self._events: deque[Event] = deque()
        self._at_work = False
        self.transcriptions = Transcriptions(
            self.feed,
            pipeline,
            realtime,
            speech.stt,
            self._settings_in_force,
            spawn,
            turn_spans,
            self._agents_words,
            self._is_held,
            self._told,
            self._guess if profile.speculates else _no_guess,
            end_of_turn,
            bus.session_id,
        )
        self.responses = ResponseTasks(
            self.feed,
            bus,
            realtime,
            agent,
            make_agent,
            speech,
            self._settings_in_force,
            support,
            instructions,
            first_generation,
            self._is_held,
            self.transcriptions.turn,
            self.transcriptions.close_turn,
            spawn,
            turn_spans,
            profile,
            session or {},
        )
        self._asked_for = ""
        """The agent to which the call is to go; empty: none."""
        self._transfer_known = asyncio.Event()
        """That can't be."""

    def feed(self, event: Event) -> None:
        """An event of the core; `ClientError` if it is a client's that can't be carried out."""
        self._events.append(event)
        if self._at_work:
            return
        self._at_work = True
        refused: do.Refuse | None = None
        try:
            while self._events:
                for command in self._decided(self._events.popleft()):
                    if isinstance(command, do.Refuse):
                        refused = command
                    else:
                        self._carry_out_safely(command)
        finally:
            self._at_work = False
        if refused is not None:
            raise ClientError(refused.text, refused.code)

    def change_settings(self, settings: SessionSettings) -> None:
        """Other settings, in force at once for what begins from now on."""
        self.settings = settings
        self.feed(events.RulesChanged(rules_of(settings, self._support, self._patience_ms, self._profile)))

    def create(self, parameters: ResponseParameters | None) -> None:
        """`response.create`; `ClientError` if there can be none now."""
        asked = parameters or ResponseParameters()
        spoken = self.settings.for_response(parameters, self._support).settings.spoken
        own = asked.input is not None or asked.instructions is not None
        self.feed(events.Create(parameters, asked.conversation == "none", spoken, own))

    def add_output(self, call_id: str) -> None:
        """The client has put the output of a function on record."""
        self._turn_spans.tool_answered(call_id)
        self.feed(events.OutputAdded(call_id))

    def press_key(self, key: str) -> None:
        """The caller has pressed a key of the telephone."""
        self._realtime.key_pressed(key, time.time())
        self.feed(events.KeyPressed(key))

    def transfer_failed(self, agent: str, why: str) -> None:
        """Another agent could not be had: the agent, if it has asked for that, learns it and goes on."""
        if self._asked_for != agent:
            return
        self._asked_for = ""
        self._transfer_known.set()
        text = f"The call could not be given to the agent {agent}: {why}. The caller is still there: say so, and go on."
        content = [{"type": "input_text", "text": text}]
        self._realtime.add_internal({"type": "message", "role": "system", "status": "completed", "content": content})
        self.feed(events.TransferFailed())

    def close(self, goes_on: bool = False) -> None:
        """The call has ended; or it `goes_on` in another process."""
        self.responses.close(goes_on)  # before the turns that they answer are dropped
        self.transcriptions.close()
        self._turn_spans.close()

    def _settings_in_force(self) -> SessionSettings:
        return self.settings

    def _is_held(self) -> bool:
        return self.core.state.hold.is_held

    def _decided(self, event: Event) -> list[Command]:
        try:
            return self.core.handle(event, time.monotonic())
        except Exception:  # a mistake of ours in one event must not make the call deaf
            log.exception("%s: %s is ignored", self._bus.session_id, type(event).__name__)
            return []

    def _carry_out_safely(self, command: Command) -> None:
        try:
            self._carry_out(command)
        except Exception:  # the commands behind it are carried out all the same
            log.exception("%s: %s was not carried out", self._bus.session_id, type(command).__name__)

    def _agents_words(self) -> str:
        """The last words of the agent: of the response under way, or on record."""
        current = self.core.state.current
        if current is not None and current.written:
            return current.written
        said = (
            text_of(item) for item in reversed(self._realtime.conversation.items) if item.get("role") == "assistant"
        )
        return next(filter(None, said), "")

    def _carry_out(self, command: Command) -> None:
        transcriptions, responses = self.transcriptions, self.responses
        match command:
            case do.Speculate():
                transcriptions.speculate(command)
            case do.DropSpeculation():
                transcriptions.drop_speculation()
            case do.KeepFirstWords():
                transcriptions.keep_first_words()
            case do.TranscribePartly():
                transcriptions.transcribe_partly(command)
            case do.Transcribe():
                transcriptions.transcribe(command)
            case do.FalseInterruption(key):
                transcriptions.close_turn(key, FALSE_INTERRUPTION)
            case do.AddKeys():
                self._add_keys(command)
            case do.Begin():
                responses.begin(command)
            case do.Ask():
                responses.ask(command)
            case do.OpenGate():
                responses.open_gate(command)
            case do.Presume():
                responses.presume(command)
            case do.SayPatience():
                responses.say_patience(command)
            case do.Stop():
                responses.stop(command)
            case do.Settle():
                responses.settle(command)
            case do.Drop():
                responses.drop(command)
            case do.SendAgain():
                responses.send_again(command)
            case do.HoldSpeech():
                responses.hold()
                self._turn_spans.held()
                self._spawn(self._hold())
            case do.ResumeSpeech(held_ms):
                responses.resume()
                self._turn_spans.resumed()
                self._spawn(self._bus.resume())
                if held_ms is not None:
                    self._realtime.emit("antiphon.false_interruption", held_ms=held_ms)
            case do.TellTimeout():
                self._tell_timeout(command)
            case do.GiveAway(transfer):
                self._spawn(self._give_away(transfer))
            case do.HangUp(reason):
                self._spawn(self._hang_up(reason))
            case do.Changed():
                self._changed()

    async def _give_away(self, transfer: Transfer) -> None:
        """Ask for another agent. If it can be had, this session ends, and this task with it."""
        self._transfer_known.clear()
        self._asked_for = transfer.agent
        await self._events_sent()  # what we publish once the other one has the call reaches nobody
        said = items_for_agent([item for item in self._realtime.conversation.items if INTERNAL not in item])
        handed = handed_call(said, transfer.summary, transfer.silent)
        outcome = await self._bus.transfer(transfer.agent, handed)
        if outcome is not ControlOutcome.DONE:
            self.transfer_failed(transfer.agent, "it was refused")
            return
        try:
            async with asyncio.timeout(_TRANSFER_SECONDS):
                await self._transfer_known.wait()
        except TimeoutError:
            self.transfer_failed(transfer.agent, "there was no answer in time")

    def _guess(self, words: str | None) -> None:
        state = self.core.state
        is_free = not (state.speech or state.stopping or state.waiting or state.next)
        self.responses.answers.guess(words if is_free and state.rules.creates_responses else None)

    def _told(self) -> Expected | None:
        return self.responses.answers.told

    async def _hold(self) -> None:
        if not await self._bus.pause():
            self.feed(events.HoldFailed())

    def _add_keys(self, command: do.AddKeys) -> None:
        self._realtime.add_keys(command.keys)

    def _tell_timeout(self, command: do.TellTimeout) -> None:
        item_id = self._realtime.new_id("item")
        end_ms = self.transcriptions.position_ms
        self._realtime.emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=max(0, end_ms - command.idle_timeout_ms),
            audio_end_ms=end_ms,
            item_id=item_id,
        )
        self._realtime.committed(item_id)


def _no_guess(words: str | None) -> None:
    """The agent wants none."""
