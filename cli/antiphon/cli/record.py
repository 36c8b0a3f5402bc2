"""`antiphon record`: subscribes to calls on NATS and writes them to files. No part of a call waits for it.

Per call a stereo WAV file (left the caller as the agent got it, right the speech at the time the caller got it) and a
time line, one JSON object per line. Recording people needs their consent in most places: this command does not ask.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from nats.aio.msg import Msg

from antiphon.cli.bus_client import on_the_bus
from antiphon.cli.errors import UsageError
from antiphon.cli.recording import Recording
from antiphon.runtime.agent_sessions.followed_agent import FollowedAgent
from antiphon.runtime.nats import connection
from antiphon.runtime.nats.server_url import without_password
from antiphon.schemas import subjects
from antiphon.schemas.errors import MalformedError

MAX_CALLS: Final = 200
"""Calls recorded at once; further ones are left out, with a line on stderr."""
MAX_PENDING: Final = 20_000
"""Messages of each kind that wait for the disk; further ones are missing in the recording only."""
MAX_REMEMBERED: Final = 1000
"""Ended calls, whose late messages begin no new file."""
IDLE_S: Final = 60.0
"""Seconds without a message after which a call counts as ended."""
_WRITE_EVERY: Final = 0.5


class _Files:
    """The open files of one call. Owned by `Tap`, until `close`; called on its loop."""

    def __init__(self, folder: Path, session_id: str) -> None:
        self.recording = Recording(session_id)
        self._followed: FollowedAgent[tuple[str, bytes]] = FollowedAgent()
        self.last_message_at = time.monotonic()
        self._path = folder / f"{session_id}.wav"
        self._wave: wave.Wave_write | None = None
        self._lines: IO[str] = (folder / f"{session_id}.jsonl").open("w", encoding="utf-8")

    def message(self, agent: str, kind: str, data: bytes) -> None:
        """Take a message that came under this agent's name; what is no part of the call is left out."""
        followed = self._followed
        held: list[tuple[str, bytes]] = []
        if agent != followed.agent and (kind == "audio.in" or (kind == "event" and not followed.agent)):
            held = followed.attached(agent)  # the transceiver alone publishes these
        if not followed.is_of_session(agent, (kind, data), hold=kind != "event"):
            return
        self.last_message_at = time.monotonic()
        for each in (*held, (kind, data)):
            self._take(*each)
        if self.recording.transferred_to:
            for each in followed.transferred(agent, self.recording.take_transfer()):
                self._take(*each)

    def _take(self, kind: str, data: bytes) -> None:
        """Events go to the time line at once."""
        line = self.recording.message(kind, data, time.time_ns())
        if line:
            self._lines.write(line + "\n")

    def write(self, everything: bool = False) -> None:
        """Write the audio to which nothing is added any more."""
        pcm = self.recording.voices.take(everything)
        if pcm and self._wave is None:
            self._wave = wave.open(str(self._path), "wb")  # noqa: SIM115 - open for as long as the call
            self._wave.setnchannels(2)
            self._wave.setsampwidth(2)
            self._wave.setframerate(self.recording.voices.rate)
        if pcm and self._wave is not None:
            self._wave.writeframesraw(pcm)
        self._lines.flush()

    def close(self) -> None:
        """Write all audio and close the files."""
        self.write(everything=True)
        if self._wave is not None:
            self._wave.close()
        self._lines.close()


class Tap:
    """All calls that are being recorded. Made by the command, which calls it on the loop of its NATS client."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls: dict[str, _Files] = {}
        self._ended: dict[str, None] = {}  # oldest first

    async def on_message(self, message: Msg) -> None:
        """Take a message of any session; the first one of a call opens its files."""
        try:
            agent, session_id, kind = subjects.parse_session_subject(message.subject)
        except MalformedError:
            return
        files = self._calls.get(session_id)
        if files is None:
            if session_id in self._ended:
                return
            if len(self._calls) >= MAX_CALLS:
                self._remember_ended(session_id)
                print(f"{session_id} is left out: {MAX_CALLS} calls are being recorded", file=sys.stderr, flush=True)
                return
            files = self._calls[session_id] = _Files(self._folder, session_id)
            print(f"recording {session_id}", flush=True)
        files.message(agent, kind, message.data)
        if files.recording.ended:
            self._close(session_id)

    def write(self) -> None:
        """Write what is due of all calls, and close those that are idle."""
        for session_id, files in list(self._calls.items()):
            files.write()
            if time.monotonic() - files.last_message_at > IDLE_S:
                self._close(session_id)

    def close(self) -> None:
        """Close the files of all calls."""
        for session_id in list(self._calls):
            self._close(session_id)

    def _remember_ended(self, session_id: str) -> None:
        """Ignore further messages of this call."""
        self._ended.pop(session_id, None)
        if len(self._ended) >= MAX_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._ended[session_id] = None

    def _close(self, session_id: str) -> None:
        self._calls.pop(session_id).close()
        self._remember_ended(session_id)
        print(f"recorded {self._folder / session_id}.wav", flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon record`."""
    parser.add_argument("--out", type=Path, required=True, help="the folder for the files; must exist")
    parser.add_argument("--session", help="one call's id (default: every call)")
    parser.add_argument("--seconds", type=float, help="stop after so long (default: until Ctrl-C)")
    parser.add_argument(
        "--nats", default=os.environ.get("ANTIPHON_NATS_URL") or connection.DEFAULT_NATS_URL, help="the bus"
    )


def run(args: argparse.Namespace) -> int:
    """Record until Ctrl-C or for `--seconds`; returns the exit status."""
    if not args.out.is_dir():
        raise UsageError(f"--out {args.out} is no folder: make it first")
    try:
        observed = subjects.session_observed(session_id=args.session)
    except MalformedError as error:
        raise UsageError(f"--session: {error}") from None
    try:
        asyncio.run(_record(args.nats, observed, args.out, args.seconds))
    except OSError as error:
        raise UsageError(f"--out {args.out} can't be written: {error.strerror}") from None
    return 0


async def _record(url: str, observed: Sequence[str], folder: Path, seconds: float | None) -> None:
    async with on_the_bus(url, "antiphon-record", "recorder") as client:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if seconds is not None:
            loop.call_later(seconds, stop.set)
        tap = Tap(folder)
        try:
            for subject in observed:
                await client.subscribe(subject, cb=tap.on_message, pending_msgs_limit=MAX_PENDING)
            await connection.require_allowed(client)
            print(f"waiting for calls on {without_password(url)}; Ctrl-C ends", file=sys.stderr, flush=True)
            while not stop.is_set():
                try:
                    async with asyncio.timeout(_WRITE_EVERY):
                        await stop.wait()
                except TimeoutError:
                    tap.write()
        finally:
            tap.close()
