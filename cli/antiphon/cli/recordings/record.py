"""`antiphon record`: subscribes to calls on NATS and writes them to files. No part of a call waits for it.

With `--to` each call becomes one file (`call_file`): both sides, words, turns, events and loss on one clock. With
`--out` it becomes a stereo WAV file (left the caller as the agent got it, right the speech at the time the caller got
it) and a time line, one JSON object per line. The credential of the recorder publishes nothing. Recording people needs
their consent in most places: this command does not ask; `ANTIPHON_CONSENT_TONE` has a tone tell callers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from nats.aio.msg import Msg

from antiphon.cli.bus_client import on_the_bus
from antiphon.cli.errors import UsageError
from antiphon.cli.recordings.call_file import finish_left
from antiphon.cli.recordings.disc_limit import DiscLimit, size_of
from antiphon.cli.recordings.record_writers import CallFileWriter, WavWriter, Writer
from antiphon.cli.recordings.recording import Recording
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
ENDED_WAIT: Final = 1.0
"""Seconds after a call's end in which its owner sums it up."""
_WRITE_EVERY: Final = 0.5
_LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the disc."""
LOCK: Final = ".antiphon-record"
"""In the folder of `--to`, locked: what a running recorder has not packed yet is no leftover."""
_ANY_TOLD: Final = (subjects.ANY_CALL_TIMELINE, subjects.ANY_CALL_ENDED)


class _Call:
    """One call that is being recorded. Owned by `Tap`, until `close`; called on its loop."""

    def __init__(self, writer: Writer, session_id: str) -> None:
        self.recording = Recording(session_id)
        self.writer = writer
        self._followed: FollowedAgent[tuple[str, bytes]] = FollowedAgent()
        self.last_message_at = time.monotonic()
        self.ended_at: float | None = None
        self._ended_unix = 0.0

    def message(self, agent: str, kind: str, data: bytes) -> None:
        """Take a message that came under this agent's name; what is no part of the call is left out."""
        followed = self._followed
        held: list[tuple[str, bytes]] = []
        if agent != followed.agent and (kind == "audio.in" or (kind == "event" and not followed.agent)):
            held = followed.attached(agent)  # the transceiver alone publishes these
        if not followed.is_of_session(agent, (kind, data), hold=kind != "event"):
            return
        self.last_message_at = time.monotonic()
        self.writer.agent(agent)
        for each in (*held, (kind, data)):
            self._take(*each)
        if self.recording.transferred_to:
            for each in followed.transferred(agent, self.recording.take_transfer()):
                self._take(*each)
        if self.recording.ended and self.ended_at is None:
            self.ended_at, self._ended_unix = time.monotonic(), self._owner_time(time.time_ns())

    def _take(self, kind: str, data: bytes) -> None:
        """Events go to the time line at once."""
        now_ns = time.time_ns()
        line = self.recording.message(kind, data, now_ns)
        self.writer.message(kind, data, line, self._owner_time(now_ns) if self.recording.knows_clock else None)

    def _owner_time(self, now_ns: int) -> float:
        return self.recording.owner_ns(now_ns) / 1e9

    def write(self, everything: bool = False) -> None:
        """Write the audio to which nothing is added any more."""
        voices = self.recording.voices
        self.writer.audio(voices.take(everything), voices.rate, voices.began)
        self.writer.flush()

    def close(self) -> None:
        """Write all audio and close the files."""
        self.write(everything=True)
        self.writer.close(self.recording.ended, self._ended_unix or self._owner_time(time.time_ns()))


class Tap:
    """All calls that are being recorded. Made by the command, which calls it on the loop of its NATS client."""

    def __init__(
        self,
        folder: Path,
        make: Callable[[Path, str], Writer] = WavWriter,
        limit: DiscLimit | None = None,
        ended_wait: float = 0.0,
    ) -> None:
        """`limit`: of the disc. `ended_wait`: seconds after a call's end in which its owner may still say more."""
        self._folder, self._make = folder, make
        self._limit = limit
        self._ended_wait = ended_wait
        self._has_room = True
        self._next_look = 0.0
        self._calls: dict[str, _Call] = {}
        self._ended: dict[str, None] = {}  # oldest first

    async def on_message(self, message: Msg) -> None:
        """Take a message of any session; the first one of a call opens its files."""
        try:
            agent, session_id, kind = subjects.parse_session_subject(message.subject)
        except MalformedError:
            return
        call = self._calls.get(session_id)
        if call is None:
            if session_id in self._ended:
                return
            if (why := self._refusal()) is not None:
                self._remember_ended(session_id)
                print(f"{session_id} is left out: {why}", file=sys.stderr, flush=True)
                return
            with self._while_disc_works(session_id):
                call = self._calls[session_id] = _Call(self._make(self._folder, session_id), session_id)
                print(f"recording {session_id}", flush=True)
        if call is None:
            return
        with self._while_disc_works(session_id):
            call.message(agent, kind, message.data)
        if call.ended_at is not None and not self._ended_wait:
            self._close(session_id)

    async def on_owner(self, message: Msg) -> None:
        """Take what the owner of a call tells operators; of a call that is not being recorded it is left out."""
        _, kind, session_id = message.subject.rsplit(".", 2)
        if (call := self._calls.get(session_id)) is not None:
            with self._while_disc_works(session_id):
                call.writer.owner(kind, message.data)

    def write(self) -> None:
        """Write what is due of all calls, and close those that are idle."""
        now = time.monotonic()
        self._look_at_disc(now)
        for session_id, call in list(self._calls.items()):
            with self._while_disc_works(session_id):
                call.write()
            ended = call.ended_at is not None and now - call.ended_at >= self._ended_wait
            if ended or now - call.last_message_at > IDLE_S:
                self._close(session_id)

    def close(self) -> None:
        """Close the files of all calls."""
        for session_id in list(self._calls):
            self._close(session_id)

    def _refusal(self) -> str | None:
        """Why no further call is recorded, if so."""
        if len(self._calls) >= MAX_CALLS:
            return f"{MAX_CALLS} calls are being recorded"
        self._look_at_disc(time.monotonic())
        return None if self._has_room else f"{self._folder} has no room for more: see --max-size and --keep-free"

    def _look_at_disc(self, now: float) -> None:
        if self._limit is None or now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY
        has_room = self._limit.has_room()
        if self._has_room and not has_room:
            print(f"{self._folder} has no room for more: recordings end here", file=sys.stderr, flush=True)
            for call in self._calls.values():
                if isinstance(call.writer, CallFileWriter):
                    call.writer.end_for_disc()
        self._has_room = has_room

    def _remember_ended(self, session_id: str) -> None:
        """Ignore further messages of this call."""
        self._ended.pop(session_id, None)
        if len(self._ended) >= MAX_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._ended[session_id] = None

    def _close(self, session_id: str) -> None:
        if (call := self._calls.get(session_id)) is not None:
            with self._while_disc_works(session_id):
                call.close()
                print(f"recorded {call.writer.path}", flush=True)
            self._calls.pop(session_id, None)
            self._remember_ended(session_id)

    @contextlib.contextmanager
    def _while_disc_works(self, session_id: str) -> Iterator[None]:
        """A disc that is full or broken ends this recording; what is written stays, and the other calls go on."""
        try:
            yield
        except OSError as error:
            if (call := self._calls.pop(session_id, None)) is not None:
                call.writer.abandon()
            self._remember_ended(session_id)
            told = f"the recording of {session_id} ends here: {error.strerror}"
            print(
                f"{told}; what there is of it is packed by the next antiphon record here", file=sys.stderr, flush=True
            )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon record`."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", type=Path, metavar="DIR", help="one .antiphon file per call, in this folder; must exist")
    where.add_argument("--out", type=Path, metavar="DIR", help="a WAV file and a time line per call; must exist")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--session", help="one call's id (with --out the default is every call)")
    which.add_argument("--all", action="store_true", help="every call")
    parser.add_argument("--seconds", type=float, help="stop after so long (default: until Ctrl-C)")
    parser.add_argument("--max-size", default="20G", help="of all .antiphon files in DIR (default: %(default)s)")
    parser.add_argument("--keep-free", default="1G", help="of the disc (default: %(default)s)")
    parser.add_argument(
        "--delete-oldest",
        action="store_true",
        help="where there is no room: delete the oldest recordings, in place of recording no more",
    )
    parser.add_argument(
        "--nats", default=os.environ.get("ANTIPHON_NATS_URL") or connection.DEFAULT_NATS_URL, help="the bus"
    )


def run(args: argparse.Namespace) -> int:
    """Record until Ctrl-C or for `--seconds`; returns the exit status."""
    option, folder = ("--to", args.to) if args.to is not None else ("--out", args.out)
    if not folder.is_dir():
        raise UsageError(f"{option} {folder} is no folder: make it first")
    if args.to is not None and not args.all and args.session is None:
        raise UsageError("--to needs --all, or --session with the id of a call")
    try:
        observed = subjects.session_observed(session_id=args.session)
        told = [subjects.call_timeline(args.session), subjects.call_ended(args.session)] if args.session else _ANY_TOLD
    except MalformedError as error:
        raise UsageError(f"--session: {error}") from None
    tap = Tap(folder)
    if args.to is not None:
        most, keep_free = size_of(args.max_size, "--max-size"), size_of(args.keep_free, "--keep-free")
        tap = Tap(folder, CallFileWriter, DiscLimit(folder, most, keep_free, args.delete_oldest), ENDED_WAIT)
    try:
        with _alone(folder) if args.to is not None else contextlib.nullcontext():
            if args.to is not None:
                for path in finish_left(folder):
                    print(f"recorded {path}, which another recorder has left", flush=True)
            asyncio.run(_record(args.nats, observed, told if args.to is not None else (), tap, args.seconds))
    except OSError as error:
        raise UsageError(f"{option} {folder} can't be written: {error.strerror}") from None
    return 0


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other recorder packs what this one is writing."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another antiphon record writes to {folder}: give each a folder of its own") from None
        yield


async def _record(url: str, observed: Sequence[str], told: Sequence[str], tap: Tap, seconds: float | None) -> None:
    async with on_the_bus(url, "antiphon-record", "recorder") as client:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if seconds is not None:
            loop.call_later(seconds, stop.set)
        try:
            for subject in observed:
                await client.subscribe(subject, cb=tap.on_message, pending_msgs_limit=MAX_PENDING)
            for subject in told:
                await client.subscribe(subject, cb=tap.on_owner, pending_msgs_limit=MAX_PENDING)
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
