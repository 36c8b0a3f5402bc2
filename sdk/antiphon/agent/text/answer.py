"""One answer: a function's text and actions become the parts that a bridge reads, in rounds while it calls tools."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

from antiphon.agent.pcm import SpeechInput, samples_of
from antiphon.agent.registration import where_is
from antiphon.agent.server_tools import CallableTool
from antiphon.agent.text import actions
from antiphon.agent.text.channel import Channel
from antiphon.agent.text.chat_messages import NO_OUTPUT, add_call, add_output, chat_messages
from antiphon.agent.text.functions import Stream
from antiphon.agent.text.said_before import SaidBefore
from antiphon.agent.text.speech_parts import speech_parts
from antiphon.agent.text.tool_runs import NotInGuess, Outcome, ResultHook, ToolRuns
from antiphon.agent.text.turn import Turn
from antiphon.schemas.messages import (
    AnyReplyPart,
    ReplyCall,
    ReplyEnd,
    ReplyError,
    ReplyExpect,
    ReplyHangUp,
    ReplyPause,
    ReplyPerson,
    ReplyRequest,
    ReplyRetracted,
    ReplyState,
    ReplyText,
    ReplyTransfer,
    ReplyUsage,
)
from antiphon.schemas.messages.replies import MAX_STATE, MAX_TEXT_PART

log = logging.getLogger("antiphon.agent")

MAX_ROUNDS: Final = 8
"""Times that a function is called again after tools."""
MAX_PIECES: Final = 20_000
"""Pieces of one answer: an endless one would take the processor from all others."""
MAX_CHARACTERS: Final = 256 * 1024
"""Of one answer: four hours of speech."""
MAX_SPEECH: Final = 300.0
"""Seconds of audio in one answer."""
AHEAD_SECONDS: Final = 45.0
"""Of audio that a bridge has to keep; what is behind it is sent while it is played."""
END_SECONDS: Final = 3.0
"""For a function or tool that is cancelled."""
_REST: Final = 50
"""Pieces after which other answers get the event loop, from a function that never waits."""


class AnswerError(Exception):
    """What the author's function has done can't be sent; the text says what and the way out."""


class Answer:
    """Owned by whoever asked, from `parts` to its end. Event loop only."""

    def __init__(
        self,
        request: ReplyRequest,
        function: Stream,
        of: Callable[..., Any],
        tools: Mapping[str, CallableTool],
        instructions: str = "",
        hook: ResultHook | None = None,
        otherwise: str = "",
        still_seconds: float = 4.0,
    ) -> None:
        """`of`: the author's function, for texts. `otherwise`: said where the function says nothing."""
        self._function, self._of, self._otherwise = function, of, otherwise
        self._parts: Channel[AnyReplyPart] = Channel()
        self._runs = ToolRuns(tools, hook, self._parts, self._still, still_seconds)
        theirs = {schema["function"]["name"]: schema for each in request.tools if (schema := _chat_schema(each))}
        schemas = [_chat_schema(each.schema()) for each in tools.values()]
        schemas += [schema for name, schema in theirs.items() if name not in tools]
        self._theirs = theirs.keys() - tools.keys()
        self._messages = chat_messages(request, instructions)
        self.turn = Turn(request, self._messages, schemas, self._runs, instructions)
        """What the function is given."""
        self._runs.serve(self.turn)
        self._saved = _state_text(self.turn.state) if self.turn.state else "{}"
        self._said = SaidBefore(request.said)
        self._pieces = self._characters = 0
        self._speech, self._plays_until = 0.0, 0.0
        self._acted = False
        """Something of it is heard, or done by the bridge."""
        self._round: list[str] = []
        """Text of this round, as a model wrote it."""
        self._calls: list[ReplyCall] = []
        """Of the client, in this round."""

    async def parts(self) -> AsyncGenerator[AnyReplyPart, None]:
        """All parts, numbered; the last is `ReplyEnd` or `ReplyError`. Closing it cancels function and tools."""
        driver = asyncio.create_task(self._drive(), name=self.turn.call_id)
        driver.add_done_callback(lambda _: self._parts.close())
        numbers = itertools.count()
        try:
            async for part in self._parts:
                yield part if isinstance(part, ReplyError) else part.model_copy(update={"number": next(numbers)})
        finally:
            await self._stop(driver)

    # ---- rounds

    async def _drive(self) -> None:
        last: AnyReplyPart = ReplyEnd(number=0)
        try:
            await self._rounds()
        except NotInGuess:
            last = ReplyError(message="a guess of the turn runs no tools")
        except asyncio.CancelledError:
            if (this := asyncio.current_task()) is None or this.cancelling():
                raise
            log.error("%s: what %s waited for was cancelled", self.turn.call_id, where_is(self._of))
            last = ReplyError(message=f"what {self._name} waited for was cancelled")
        except AnswerError as error:
            log.error("%s: %s: %s", self.turn.call_id, where_is(self._of), error)
            last = ReplyError(message=f"{self._name}: {error}"[:500])
        except Exception as error:
            log.exception("%s: %s has failed", self.turn.call_id, where_is(self._of))
            last = ReplyError(message=f"{self._name} has failed: {type(error).__name__}"[:500])
        try:
            if not self.turn.speculative or isinstance(last, ReplyEnd):
                await self._save()
        except AnswerError as error:
            log.error("%s: %s: %s", self.turn.call_id, where_is(self._of), error)
            last = ReplyError(message=f"{self._name}: {error}"[:500])
        await self._parts.put(last)

    async def _rounds(self) -> None:
        for number in range(MAX_ROUNDS + 1):
            if number == MAX_ROUNDS:
                self.turn.without_tools()
            self._round, self._calls = [], []
            async with aclosing(self._function(self.turn)) as pieces:
                async for piece in pieces:
                    await self._take(piece, number)
            outcomes = await self._runs.finished()
            if not outcomes:
                break
            self._remember(outcomes)
        if self._otherwise and not self._acted:
            await self._text(self._otherwise)
        if self._runs.count and not self._acted and self.turn.event != "call_ended":
            raise AnswerError("its tools have run, and it says nothing: yield text after them")

    def _remember(self, outcomes: list[Outcome]) -> None:
        """The round in `turn.messages`, for the next one."""
        text = "".join(self._round).strip()
        if text:
            self._messages.append({"role": "assistant", "content": text})
        beside = False
        for each in outcomes:
            add_call(self._messages, each.call_id, each.call.name, each.call.json, beside)
            add_output(self._messages, each.call_id, each.output)
            beside = True
        for theirs in self._calls:
            add_call(self._messages, theirs.call_id, theirs.name, theirs.arguments, beside)
            add_output(self._messages, theirs.call_id, NO_OUTPUT)

    async def _stop(self, driver: asyncio.Task[None]) -> None:
        work: set[asyncio.Task[Any]] = {driver, *self._runs.running()}
        waiting = {each for each in work if not each.done()}
        for each in waiting:
            each.cancel()
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=END_SECONDS)
            for each in late:
                each.cancel()
                log.error("%s: %s does not end though it was cancelled", self.turn.call_id, each.get_name())

    # ---- pieces

    async def _take(self, piece: object, number: int) -> None:
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            raise AnswerError(f"more than {MAX_PIECES} pieces in one answer")
        if self._pieces % _REST == 0:
            await asyncio.sleep(0)
        await self._save()
        match piece:
            case None | "":
                return
            case str():
                self._round.append(piece)
                await self._text(piece)
            case actions.CallTool() if number == MAX_ROUNDS:
                raise AnswerError(f"tools after {MAX_ROUNDS} rounds of them")
            case actions.CallTool():
                await self._call(piece)
            case actions.Say():
                await self._say(piece)
            case _:
                await self._parts.put(_part_of(piece))
                self._acted |= not isinstance(piece, actions.Retract | actions.Usage)

    async def _text(self, text: str) -> None:
        if not self.turn.said_was_read:
            text = self._said.push(text)
            self._acted |= not text
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            raise AnswerError(f"more than {MAX_CHARACTERS} characters in one answer")
        text = text.encode("utf-8", "replace").decode()  # half a surrogate pair is no JSON
        for at in range(0, len(text), MAX_TEXT_PART):
            self._acted = True
            await self._parts.put(ReplyText(number=0, text=text[at : at + MAX_TEXT_PART]))

    async def _say(self, say: actions.Say) -> None:
        self._acted = True
        self._round.append(f" {say.text} ")
        if not self.turn.said_was_read and self._said.repeats(say.text):
            return
        async for part in speech_parts(SpeechInput(say.rate), samples_of(say.pcm), say.rate, say.text):
            await self._parts.put(part)
            await self._keep_pace(len(part.pcm) * 3 / 4 / 2 / part.rate)

    async def _keep_pace(self, seconds: float) -> None:
        self._speech += seconds
        if self._speech > MAX_SPEECH:
            raise AnswerError(f"more than {MAX_SPEECH:.0f} s of audio in one answer")
        now = asyncio.get_running_loop().time()
        self._plays_until = max(self._plays_until, now) + seconds
        await asyncio.sleep(max(0.0, self._plays_until - now - AHEAD_SECONDS))

    async def _call(self, call: actions.CallTool) -> None:
        if call.name not in self._theirs:
            await self._runs.start(call)
            return
        call_id = self._runs.own_id(call.call_id)
        part = ReplyCall(number=0, call_id=call_id, name=call.name, arguments=call.json)
        self._calls.append(part)
        self._acted = True
        await self._parts.put(part)

    # ---- state

    async def _save(self) -> None:
        if not self.turn.state and self._saved == "{}":
            return
        text = _state_text(self.turn.state)
        if text != self._saved:
            self._saved = text
            await self._parts.put(self._still())

    def _still(self) -> AnyReplyPart:
        return ReplyState(number=0, state=json.loads(self._saved))

    @property
    def _name(self) -> str:
        return str(getattr(self._of, "__qualname__", type(self._of).__qualname__))


def _part_of(piece: object) -> AnyReplyPart:
    match piece:
        case actions.Pause(seconds):
            return ReplyPause(number=0, milliseconds=round(seconds * 1000))
        case actions.HangUp():
            return ReplyHangUp(number=0)
        case actions.Transfer(agent, summary, silent):
            return ReplyTransfer(number=0, agent=agent, summary=summary, silent=silent)
        case actions.Person(state, summary):
            return ReplyPerson(number=0, state=state, summary=summary)
        case actions.Ask(kind):
            return ReplyExpect(number=0, kind=kind)
        case actions.Retract():
            return ReplyRetracted(number=0)
        case actions.Usage(taken, given):
            return ReplyUsage(number=0, input_tokens=taken, output_tokens=given)
    if isinstance(piece, bytes | bytearray):
        raise AnswerError("it yielded bytes: yield text, or Say(pcm, words) for audio of your own")
    raise AnswerError(f"it yielded {type(piece).__name__} {piece!r:.60}: expected text or an action")


def _state_text(state: object) -> str:
    try:
        text = json.dumps(state, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise AnswerError(f"turn.state is no plain JSON: {error}") from None
    data = text.encode("utf-8", "replace")  # half a surrogate pair is no JSON
    if len(data) > MAX_STATE:
        raise AnswerError(f"turn.state has {len(data)} bytes as JSON, at most {MAX_STATE}: keep the rest elsewhere")
    return data.decode()


def _chat_schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A function of the realtime protocol in chat format; empty: it is no function with a name."""
    kept = ("name", "description", "parameters", "strict")
    function = {key: tool[key] for key in kept if key in tool}
    return {"type": "function", "function": function} if isinstance(function.get("name"), str) else {}
