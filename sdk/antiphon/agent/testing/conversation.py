"""A call of a text agent without network, speech models or waiting: words in, words and actions out.

It does what a bridge does with the parts of an answer: it keeps the conversation as played, cuts an answer where the
caller speaks, and tells the agent in the next request. Speech takes its time on the clock of the test.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final, Protocol

from antiphon.agent.testing.answer import Answer, ToolCall, arguments_of
from antiphon.agent.testing.transcript import Transcript
from antiphon.schemas import messages
from antiphon.schemas.messages.replies import MAX_STATE, ReplyEvent

CHARACTERS_PER_SECOND: Final = 15.0
"""Of speech: how long an answer is played, where nobody interrupts it."""
ANSWER_SECONDS: Final = 600.0
"""For one answer, by the clock of the test; then the test fails."""


class Answers(Protocol):
    """What a conversation can be held with: a `TextAgent`."""

    @property
    def name(self) -> str: ...

    def answer(self, request: messages.ReplyRequest) -> AsyncGenerator[messages.AnyReplyPart, None]:
        """The parts of one answer."""

    def announcement(self, instance: str) -> messages.TextAgentAnnouncement:
        """What it tells bridges of itself."""


class Conversation:
    """One call. Made by a test, which calls its methods one after the other, on the loop of the test."""

    def __init__(
        self,
        agent: Answers,
        *,
        language: str = "en",
        instructions: str = "",
        session: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        now: datetime | None = None,
    ) -> None:
        """`instructions`, `session`, `tools`: the client's, as in the realtime protocol. `now`: the day of the call."""
        self.agent = agent
        self.transcript = Transcript()
        """What was said so far, with times."""
        self.answers: list[Answer] = []
        """All of them."""
        self.state: Any = None
        """What the agent wants to know in the next turn."""
        self.over = False
        """The agent has hung up or given the call away, or the test has ended it."""
        self.call_id = f"rtc_{secrets.token_hex(12)}"
        """As the agent knows it."""
        self._language, self._instructions, self._now = language, instructions, now
        self._session, self._tools = dict(session or {}), [dict(each) for each in tools]
        self._items: list[dict[str, Any]] = []
        self._turn = 0
        self._keys = ""
        self._played: messages.PlayedAnswer | None = None
        self._began = asyncio.get_running_loop().time()

    # ---- what the caller does

    async def start(self) -> Answer:
        """The caller is connected: the greeting."""
        announced = self.agent.announcement("test")
        if announced.greets:
            return await self._ask("call_started", "")
        answer = Answer(text=announced.greeting, played=announced.greeting, ms=0.0)
        self._record(answer)
        await self._play(announced.greeting)
        return answer

    async def say(self, text: str, interrupt_after: str = "") -> Answer:
        """The caller says this. `interrupt_after`: and speaks again as soon as these words of the answer were spoken.

        `AssertionError` if the answer ends without them.
        """
        self.transcript.add(self.seconds, "caller", text)
        self._items.append(_message(self._turn, "user", text))
        return await self._ask("turn", text, interrupt_after)

    async def press(self, keys: str) -> Answer:
        """The caller presses keys of the telephone: digits, `*`, `#`."""
        self.transcript.add(self.seconds, "keys", keys)
        self._keys = keys
        return await self._ask("turn", "")

    async def wait(self, seconds: float | None = None) -> Answer:
        """The caller says nothing for so long; None: for as long as the agent waits before it asks."""
        limit = self.agent.announcement("test").silence_ms
        if seconds is None:
            assert limit is not None, f"agent {self.agent.name} is not asked after silence: set `silence`"
            seconds = limit / 1000
        self.transcript.add(self.seconds, "silence", f"{seconds:g} s")
        await asyncio.sleep(seconds)
        if limit is None or seconds * 1000 < limit:
            return Answer()
        return await self._ask("silence", "")

    async def give_output(self, call: ToolCall, output: Any) -> Answer:
        """The client answers a function call of `client_calls`."""
        text = output if isinstance(output, str) else json.dumps(output)
        self.transcript.add(self.seconds, "client", f"{call.name} -> {text}")
        self._items.append({"type": "function_call_output", "call_id": call.call_id, "output": text})
        return await self._ask("turn", "")

    async def hang_up(self) -> None:
        """The caller ends the call."""
        if not self.over:
            self.transcript.add(self.seconds, "caller", "(hangs up)")
            await self._end()

    # ---- what tests look at

    @property
    def seconds(self) -> float:
        """Since the beginning of the call, by the clock of the test."""
        return asyncio.get_running_loop().time() - self._began

    @property
    def items(self) -> list[dict[str, Any]]:
        """The conversation as played: items of the realtime protocol."""
        return list(self._items)

    # ---- inside

    async def _ask(self, event: ReplyEvent, text: str, interrupt_after: str = "") -> Answer:
        assert not self.over, "the call is over: nothing more can be said in it"
        request = self._request(event, text)
        self._turn += 1
        self._keys = ""
        answer = Answer()
        self.answers.append(answer)
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._take(request, answer, interrupt_after, began)
        except TimeoutError:
            answer.failure = f"no end of the answer within {ANSWER_SECONDS:g} s"
        answer.whole_ms = (asyncio.get_running_loop().time() - began) * 1000
        missing = bool(interrupt_after) and not answer.interrupted
        self._record(answer)
        assert not missing, f"the answer ended without {interrupt_after!r}: {answer.text!r}"
        await self._play(answer.played)
        if answer.hung_up or answer.transferred_to:
            await self._end()
        return answer

    async def _take(self, request: messages.ReplyRequest, answer: Answer, interrupt_after: str, began: float) -> None:
        loop = asyncio.get_running_loop()
        number = 0
        async with aclosing(self.agent.answer(request)) as parts:
            async for part in parts:
                answer.parts.append(part)
                if not isinstance(part, messages.ReplyAlive | messages.ReplyError):
                    assert part.number == number, f"part {part.number} of the answer where {number} was next"
                    number += 1
                self._note(part, answer, (loop.time() - began) * 1000)
                if interrupt_after and (at := answer.text.find(interrupt_after)) >= 0:
                    answer.interrupted = True
                    answer.played = answer.text[: at + len(interrupt_after)]
                    return
        answer.played = answer.text

    def _note(self, part: messages.AnyReplyPart, answer: Answer, ms: float) -> None:
        match part:
            case messages.ReplyText(text=text):
                answer.ms = ms if answer.ms is None else answer.ms
                answer.text += text
            case messages.ReplySpeech():
                answer.ms = ms if answer.ms is None else answer.ms
                answer.speech_ms += len(base64.b64decode(part.pcm)) / 2 / part.rate * 1000
                answer.text += part.words
            case messages.ReplyPause(milliseconds=milliseconds):
                answer.pauses_ms += milliseconds
            case messages.ReplyTool(output=None):
                call = ToolCall(part.name, arguments_of(part.arguments), part.call_id, ms)
                answer.tools.append(call)
                self.transcript.add(self.seconds, "tool", f"{part.name}({part.arguments})")
                self._called(part.call_id, part.name, part.arguments)
            case messages.ReplyTool(output=str(output)):
                for call in answer.tools:
                    if call.call_id == part.call_id:
                        call.output, call.failed = output, part.failed
                self.transcript.add(self.seconds, "tool", f"{part.name} -> {'failed: ' * part.failed}{output}")
                self._items.append({"type": "function_call_output", "call_id": part.call_id, "output": output})
            case messages.ReplyCall():
                call = ToolCall(part.name, arguments_of(part.arguments), part.call_id, ms)
                answer.client_calls.append(call)
                self.transcript.add(self.seconds, "client", f"is asked for {part.name}({part.arguments})")
                self._called(part.call_id, part.name, part.arguments)
            case messages.ReplyHangUp():
                answer.hung_up = True
            case messages.ReplyTransfer():
                answer.transferred_to, answer.summary = part.agent, part.summary
            case messages.ReplyPerson():
                answer.person, answer.summary = part.state, part.summary
            case messages.ReplyExpect():
                answer.expects = part.kind
            case messages.ReplyState(state=state):
                size = len(json.dumps(state))
                assert size <= MAX_STATE, f"the state has {size} bytes as JSON, at most {MAX_STATE} are kept"
                self.state = state
            case messages.ReplyRetracted():
                answer.text = ""
            case messages.ReplyError(message=message):
                answer.failure = message or "the agent failed"

    def _called(self, call_id: str, name: str, arguments: str) -> None:
        self._items.append({"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments})

    def _request(self, event: ReplyEvent, text: str) -> messages.ReplyRequest:
        now = self._now or datetime.now()
        return messages.ReplyRequest(
            call_id=self.call_id,
            agent=self.agent.name,
            event=event,
            turn=self._turn,
            text=text,
            now=now.astimezone().isoformat(timespec="seconds"),
            language=self._language,
            items=self._items,
            instructions=self._instructions,
            tools=self._tools,
            keys=self._keys,
            played=self._played,
            session=self._session,
            state=self.state,
        )

    def _record(self, answer: Answer) -> None:
        cut = " (interrupted)" if answer.interrupted else ""
        for text in (answer.played + cut if answer.played else "", answer.failure and f"(failed: {answer.failure})"):
            if text:
                self.transcript.add(self.seconds, "agent", text)
        for done, text in (
            (answer.person, f"a person: {answer.person}"),
            (answer.transferred_to, f"transfer to {answer.transferred_to}"),
            (answer.hung_up, "hang up"),
        ):
            if done:
                self.transcript.add(self.seconds, "action", text)
        self._played = messages.PlayedAnswer(text=answer.played, interrupted=answer.interrupted)
        if answer.played:
            self._items.append(_message(self._turn, "assistant", answer.played))

    async def _play(self, words: str) -> None:
        """It is spoken: time passes."""
        await asyncio.sleep(len(words) / CHARACTERS_PER_SECOND)

    async def _end(self) -> None:
        self.over = True
        request = self._request("call_ended", "")
        async with aclosing(self.agent.answer(request)) as parts:
            async for _ in parts:
                pass


def _message(turn: int, role: str, text: str) -> dict[str, Any]:
    kind = "output_audio" if role == "assistant" else "input_audio"
    content = [{"type": kind, "transcript": text}]
    return {"id": f"item_{role}_{turn}", "type": "message", "status": "completed", "role": role, "content": content}
