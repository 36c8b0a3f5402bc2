"""A chat server on loopback that plays raw lines, and everything that servers and proxies do to `chat/completions`.

A test gives each byte of each answer; where only the words matter, `support.models.plain_chat_server` is simpler.
`PYTHONPATH=tests python -m support.scripted_chat_server --quirk NAME` serves one of the quirks of `chat_quirks` for a
bridge that is started with `ANTIPHON_LLM_URL` as printed; `--list` prints all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]


@dataclass
class Answer:
    """How one request is answered."""

    lines: list[tuple[float, str]] = field(default_factory=list)
    """Seconds to wait, and then what is sent, as it is."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    """Sent with a status other than 200, or in place of the lines."""
    cut: bool = False
    """Close the connection behind the lines, of which more were promised."""
    stalls: bool = False
    """Send nothing more behind the lines, until the client hangs up."""


class ScriptedChat:
    """Plays `answers` one after the other, the last of them for all further requests; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[JsonObject] = []
        """Those for a stream that were not refused."""
        self.refused: list[JsonObject] = []
        self.checks: list[JsonObject] = []
        """Those that want no stream: by them the bridge looks whether we would answer."""
        self.refuses: dict[str, tuple[int, str]] = {}
        """Options of a request that are refused, each with the status and the text of that."""
        self.strict: Callable[[list[JsonObject]], str] | None = None
        """A chat template that says what is wrong with the messages, or nothing."""
        self.loads_for = 0.0
        """Seconds from a request to its first byte, until the model is loaded; begun anew when the client hangs up."""
        self.loads_begun = 0
        self.loaded = False
        self.hung_up = 0
        """Clients that have left before the end of their answer."""
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()
        self._played = 0

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def end(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            self.hung_up += 1
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length"))
        request: JsonObject = json.loads(await reader.readexactly(length))
        answer = self._refusal(request) or (self._next(request) if request.get("stream") else self._check(request))
        left = asyncio.create_task(reader.read())
        try:
            if self.loads_for and not self.loaded and answer.status == 200:
                self.loads_begun += 1
                await asyncio.wait({left}, timeout=self.loads_for)
                if left.done():
                    self.hung_up += 1
                    return
                self.loaded = True
            await self._send(answer, bool(request.get("stream")), writer)
            if answer.stalls:
                await left
                self.hung_up += 1
            elif not answer.cut:
                writer.write_eof()
                await left
        finally:
            left.cancel()

    async def _send(self, answer: Answer, streams: bool, writer: asyncio.StreamWriter) -> None:
        kind = "text/event-stream" if streams and answer.status == 200 and not answer.body else "application/json"
        headers = {"Content-Type": kind, "Connection": "close", **answer.headers}
        if answer.cut:
            headers["Content-Length"] = "1000000"
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{fields}\r\n{answer.body}".encode())
        await writer.drain()
        for delay, line in answer.lines:
            if delay:
                await asyncio.sleep(delay)
            writer.write(line.encode("utf-8", "surrogateescape"))
            await writer.drain()

    def _refusal(self, request: JsonObject) -> Answer | None:
        for option, (status, text) in self.refuses.items():
            if option in request:
                self.refused.append(request)
                return Answer(status=status, body=json.dumps({"error": {"message": text}}))
        if self.strict and (wrong := self.strict(request["messages"])):
            self.refused.append(request)
            return Answer(status=400, body=json.dumps({"error": {"message": wrong}}))
        return None

    def _next(self, request: JsonObject) -> Answer:
        self.requests.append(request)
        answer = self.answers[min(self._played, len(self.answers) - 1)]
        self._played += 1
        return answer

    def _check(self, request: JsonObject) -> Answer:
        self.checks.append(request)
        message = {"role": "assistant", "content": "Hi"}
        return Answer(body=json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "length"}]}))


def strict_template(messages: list[JsonObject]) -> str:
    """What the strictest of the chat templates of Mistral, Gemma and llama.cpp would not take."""
    if messages and messages[0]["role"] == "system":
        messages = messages[1:]
    if not messages or messages[0]["role"] != "user":
        return "After the optional system message, the conversation must begin with a user"
    expected, waiting = "user", list[str]()
    for message in messages:
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                return "a tool's message without its call in front of it"
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            return "a tool call without its result behind it"
        if role not in ("user", "assistant"):
            return f"the role {role} is possible only in front"
        if role != expected:
            return "After the optional system message, conversation roles must alternate user/assistant"
        calls = message.get("tool_calls") or ()
        if not calls and not message["content"]:
            return "a message without content"
        for call in calls:
            if not isinstance(json.loads(call["function"]["arguments"]), dict):
                return "arguments that are no object"
            waiting.append(call["id"])
        if len(set(waiting)) < len(waiting):
            return "two tool calls of the same id"
        if not calls:
            expected = "assistant" if role == "user" else "user"
    last = messages[-1]["role"]
    return "the last message must be of the user or a tool" if last == "assistant" else ""


@asynccontextmanager
async def scripted_chat(*answers: Answer) -> AsyncIterator[ScriptedChat]:
    chat = ScriptedChat()
    chat.answers = list(answers)
    async with await asyncio.start_server(chat.accept, "127.0.0.1", 0) as server:
        chat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield chat
        await chat.end()


async def _run(name: str, port: int) -> None:
    from support.chat_quirks import QUIRKS

    quirk = next(quirk for quirk in QUIRKS if quirk.name == name)
    chat = ScriptedChat()
    quirk.prepare(chat)
    server = await asyncio.start_server(chat.accept, "127.0.0.1", port)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    print(f"{quirk.name}: {quirk.about}\nANTIPHON_LLM_URL={url} ANTIPHON_LLM_MODEL=scripted", flush=True)
    seen = 0
    while True:
        await asyncio.sleep(0.2)
        asked = [*chat.refused, *chat.requests]
        for request in asked[seen:]:
            print(json.dumps(request, ensure_ascii=False), flush=True)
        seen = len(asked)


def main() -> None:
    from support.chat_quirks import QUIRKS, as_markdown

    parser = argparse.ArgumentParser(prog="python -m support.scripted_chat_server", description=__doc__)
    parser.add_argument("--quirk", choices=[quirk.name for quirk in QUIRKS])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="all quirks, as chat_quirks.md has them")
    arguments = parser.parse_args()
    if arguments.list or not arguments.quirk:
        print(as_markdown(), end="")
        return
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(arguments.quirk, arguments.port))


if __name__ == "__main__":
    main()
