"""A text agent's way: what a turn costs more that is asked over NATS than one asked of a chat server by the bridge.

Both answer at once, from a process of their own on loopback: a plain NATS client, and a chat server that streams as
OpenAI-compatible ones do. A round asks each of them the last turn of the same conversation, and takes the time from the
bridge's question to the first word. No speech and no call: those are the same for both. `antiphon bench conversation
--agent NAME` measures whole calls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import time
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.bench._lib.free_port import free_port
from antiphon.bench._lib.processes import nats_server, process
from antiphon.bench._lib.statistics import percentiles
from antiphon.cli.errors import UsageError
from antiphon.inference_bridge.agents import Agent, Request
from antiphon.inference_bridge.agents.language_model import LanguageModel, client_for
from antiphon.inference_bridge.agents.text_agent import RemoteTextAgent
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects

AGENT: Final = "bench-text"
WORDS: Final = ("It ", "is ", "half ", "past ", "ten.")
_WARM: Final = 20
"""Rounds before the first that counts."""
_BETWEEN: Final = 0.005
_START_SECONDS: Final = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=500, help="turns of each way (default: %(default)s)")
    parser.add_argument("--items", type=int, default=40, help="items of the conversation (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.rounds < 1 or args.items < 0:
        raise UsageError("--rounds is at least 1, --items at least 0")
    port = free_port(socket.SOCK_STREAM)
    with (
        tempfile.TemporaryDirectory() as directory,
        nats_server(Path(directory)) as url,
        process([sys.executable, "-m", __name__, url, str(port)]),
    ):
        result = asyncio.run(_measure(url, f"http://127.0.0.1:{port}/v1", args.rounds, args.items))
    if args.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>18}: {value}")
    return 0


async def _measure(url: str, chat_url: str, rounds: int, count: int) -> dict[str, Any]:
    items = [_item(number) for number in range(count)]
    asked = Request("What time is it?", datetime.now(UTC), [*items, _item(-1)], "You are a receptionist. Be brief.")
    client = await connection.connect(url, "bench")
    text_agent = RemoteTextAgent(client, "rtc_bench", AGENT, messages.ReplyLimits())
    times: dict[str, list[float]] = {"chat": [], "text": []}
    try:
        async with client_for(chat_url, "") as server:
            chat = LanguageModel(server, "bench", 5.0)
            await _until_there(text_agent, chat, asked)
            for number in range(_WARM + rounds):
                for name, agent in (("chat", chat), ("text", text_agent)):
                    await asyncio.sleep(_BETWEEN)
                    taken = await _first_word(agent, asked)
                    if number >= _WARM:
                        times[name].append(taken)
    finally:
        await client.close()
    chat_ms, text_ms = percentiles(times["chat"], digits=2), percentiles(times["text"], digits=2)
    added = {name: round((text_ms[name] or 0) - (chat_ms[name] or 0), 2) for name in text_ms}
    return {"chat_server_ms": chat_ms, "text_agent_ms": text_ms, "added_ms": added, "rounds": rounds, "items": count}


def _item(number: int) -> dict[str, Any]:
    is_agents = number % 2 == 0
    part = {
        "type": "output_audio" if is_agents else "input_audio",
        "transcript": f"Sentence {number}, of a usual length.",
    }
    role = "assistant" if is_agents else "user"
    return {"id": f"item_{number}", "type": "message", "role": role, "status": "completed", "content": [part]}


async def _first_word(agent: Agent, request: Request) -> float:
    """Milliseconds; the rest of the answer is read as well."""
    began, first = time.perf_counter(), 0.0
    said = ""
    async with aclosing(agent.reply(request)) as parts:
        async for part in parts:
            if isinstance(part, str):
                first = first or time.perf_counter()
                said += part
    agent.played(said)
    if said != "".join(WORDS):
        raise UsageError(f"the answer was {said!r:.80}")
    return (first - began) * 1000


async def _until_there(text_agent: RemoteTextAgent, chat: LanguageModel, asked: Request) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            await _first_word(text_agent, asked)
            await _first_word(chat, asked)
        except UsageError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


# ---- the process that answers -------------------------------------------------------------------------------


async def _answer(url: str, port: int) -> None:
    client = await connection.connect(url, "bench-text")
    await client.subscribe(subjects.agent_reply(AGENT), cb=_on_request(client))
    await connection.flush(client)
    async with await asyncio.start_server(_chat, "127.0.0.1", port) as server:
        await server.serve_forever()


def _on_request(client: Client) -> Any:
    async def answer(message: Msg) -> None:
        messages.decode(message.data, messages.ReplyRequest)
        parts = [messages.ReplyText(number=number, text=word) for number, word in enumerate(WORDS)]
        for part in (messages.ReplyAlive(), *parts, messages.ReplyEnd(number=len(WORDS))):
            await client.publish(message.reply, messages.encode(part), reply=client.new_inbox())

    return answer


async def _chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Chat completions over kept connections, in chunks of one word."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lengths = [
                line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
            ]
            json.loads(await reader.readexactly(int(lengths[0])) if lengths else b"{}")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for number, word in enumerate((*WORDS, "")):
                done = "stop" if number == len(WORDS) else None
                choice = {"index": 0, "delta": {"content": word}, "finish_reason": done}
                _chunk(writer, f"data: {json.dumps({'id': 'x', 'model': 'bench', 'choices': [choice]})}\n\n")
            _chunk(writer, "data: [DONE]\n\n")
            _chunk(writer, "")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _chunk(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(f"{len(text):x}\r\n{text}\r\n".encode())


if __name__ == "__main__":
    asyncio.run(_answer(sys.argv[1], int(sys.argv[2])))
