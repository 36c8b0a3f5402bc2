"""Stand-ins for model servers on loopback that speak the real protocols: OpenAI over HTTP, and its realtime socket."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from support.conditions import until
from support.models.sounds import tone
from websockets.asyncio.server import ServerConnection, serve

SPEECH_PER_WORD = 0.25


class ModelsServer:
    """`/v1/audio/transcriptions`, `/v1/chat/completions`, `/v1/audio/speech`."""

    def __init__(self) -> None:
        self.url = ""
        self.chats: list[list[dict[str, Any]]] = []
        self.answers: list[str] = []
        self.app = FastAPI()
        self.app.post("/v1/audio/transcriptions")(self.transcribe)
        self.app.post("/v1/chat/completions")(self.chat)
        self.app.post("/v1/audio/speech")(self.speak)

    async def transcribe(self, request: Request) -> dict[str, str]:
        async with request.form() as form:
            upload = form["file"]
            assert not isinstance(upload, str)
            with wave.open(io.BytesIO(await upload.read())) as file:
                return {"text": f"heard {file.getnframes() / file.getframerate():.1f} s"}

    async def chat(self, request: Request) -> StreamingResponse:
        self.chats.append((await request.json())["messages"])
        answer = self.answers.pop(0) if self.answers else "Very well."

        def chunks() -> list[str]:
            common = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
            parts = [{"delta": {"content": word + " "}, "index": 0} for word in answer.split()]
            return [f"data: {json.dumps({**common, 'choices': [part]})}\n\n" for part in parts] + ["data: [DONE]\n\n"]

        return StreamingResponse(iter(chunks()), media_type="text/event-stream")

    async def speak(self, request: Request) -> Response:
        words = (await request.json())["input"].split()
        return Response(tone(len(words) * SPEECH_PER_WORD), media_type="audio/pcm")


@asynccontextmanager
async def models_server() -> AsyncIterator[ModelsServer]:
    models = ModelsServer()
    server = uvicorn.Server(uvicorn.Config(models.app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    models.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield models
    finally:
        server.should_exit = True
        await serving


class RealtimeServer:
    """Answers every second of loud audio with four seconds of a tone, sent at once; hears the caller by loudness."""

    def __init__(self) -> None:
        self.url = ""
        self.session: dict[str, Any] = {}
        self.truncated: list[dict[str, Any]] = []
        self.closed = False
        self._items = 0

    async def handle(self, socket: ServerConnection) -> None:
        await self._send(socket, "session.created", session={"type": "realtime"})
        loud_ms = quiet_ms = 0
        answering = False
        async for message in socket:
            event = json.loads(message)
            match event["type"]:
                case "session.update":
                    self.session = event["session"]
                    await self._send(socket, "session.updated", session=self.session)
                case "conversation.item.truncate":
                    self.truncated.append(event)
                case "input_audio_buffer.append":
                    pcm = base64.b64decode(event["audio"])
                    level = max(map(abs, memoryview(pcm).cast("h")))
                    loud_ms, quiet_ms = (loud_ms + 20, 0) if level > 2000 else (loud_ms, quiet_ms + 20)
                    if loud_ms == 60 and quiet_ms == 0:
                        await self._send(socket, "input_audio_buffer.speech_started", audio_start_ms=0, item_id="u")
                        if answering:
                            answering = False
                            await self._send(socket, "response.done", response={"status": "cancelled", "output": []})
                    if loud_ms > 200 and quiet_ms == 200:
                        loud_ms, answering = 0, True
                        await self._answer(socket)
        self.closed = True

    async def _answer(self, socket: ServerConnection) -> None:
        self._items += 1
        item = f"item_{self._items}"
        pcm = tone(4)
        await self._send(socket, "response.created", response={"id": "r", "status": "in_progress"})
        for at in range(0, len(pcm), 9600):
            delta = base64.b64encode(pcm[at : at + 9600]).decode()
            await self._send(socket, "response.output_audio.delta", item_id=item, delta=delta)

    async def _send(self, socket: ServerConnection, type_: str, **fields: Any) -> None:
        await socket.send(json.dumps({"type": type_, "event_id": "e", **fields}))


@asynccontextmanager
async def realtime_server() -> AsyncIterator[RealtimeServer]:
    realtime = RealtimeServer()
    async with serve(realtime.handle, "127.0.0.1", 0) as server:
        realtime.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/v1/realtime"
        yield realtime
