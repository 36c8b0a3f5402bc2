"""`antiphon call`: a spoken conversation from a WAV file, for scripts and for people on a server.

Status 0: audible speech answered, or the agent spoke and ended the call as conversations end. 1: no call was set up, no
speech answered, or the call broke off. 2: something is wrong with the options.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from antiphon.cli.call.call_client import require_url
from antiphon.cli.call.call_listener import ANSWER_WAIT, Listener, await_answer, let_greet, until_answered
from antiphon.cli.call.voice import say
from antiphon.cli.call.wav import Samples, last_voiced, read_wav, write_wav
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import CallError, UsageError
from antiphon.schemas import MalformedError
from antiphon.schemas.addresses import Address, parse_address

OPTIONAL: Final = ("region", "ingress", "prepared", "ended", "error")
"""Fields of a result that are printed where they say something."""


@dataclass
class CallResult:
    """The result of a call; the object that `--json` prints. Made and filled by `converse`."""

    ok: bool = False
    """The exit status is 0."""
    heard: str = ""
    """The agent's transcript of our speech."""
    answered: str = ""
    """The agent's own transcript of its answer; empty for agents that send none."""
    setup_ms: float | None = None
    """Offer to connection."""
    answer_ms: float | None = None
    """End of our speech to the first audible frame of the answer."""
    lost_packets: int | None = None
    """RTP packets of the agent's speech."""
    region: str = ""
    """Where the server says that it serves the call; empty: it has one region."""
    ingress: str = ""
    """The region of the relay by which the call enters; empty likewise."""
    prepared: str = ""
    """What became of the prepared call: `used`, or `not answered` (an ordinary one followed); empty: there was none."""
    ended: str | None = None
    """Why the call ended before we hung up, if it did."""
    error: str | None = None
    """Why `ok` is false."""


async def converse(
    url: str,
    agent: str | None,
    key: str | None,
    question: Samples,
    relay: Address | None = None,
    region: str | None = None,
    prepared: bool = False,
) -> tuple[CallResult, Samples]:
    """Place a call, play `question` (24 kHz), return the result and the audio of the answer.

    `region`: the one that the server shall take the caller to be in. `prepared`: have the answer before the call.
    """
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    loop = asyncio.get_running_loop()
    result = CallResult()
    start = loop.time()
    try:
        if prepared:
            await peer.prepare(url, agent, key, region=region)
        await peer.connect(url, agent, key, relay, region=region)
        if prepared:
            result.prepared = "used" if peer.used_prepared else "not answered"
        result.setup_ms = round(peer.setup_ms, 1)
        await let_greet(peer, listener, loop.time())
        seen = len(listener.events)
        answer_at = None
        if not peer.closed.is_set():
            start = loop.time()
            peer.speak(question.tobytes())
            spoken_until = start + last_voiced(question) / RATE
            answer_at = await await_answer(peer, listener, spoken_until)
            # An answer may begin while we still speak (an echo): then there is no wait to report.
            if answer_at is not None:
                result.answer_ms = round(max(0.0, answer_at - spoken_until) * 1000, 1)
                await until_answered(peer, listener, seen)
        result.heard = listener.texts("conversation.item.input_audio_transcription.completed", seen)
        result.answered = listener.texts("response.output_audio_transcript.done", seen)
        result.lost_packets = max(0, peer.receiver.reception.lost)
        result.ok = answer_at is not None
        if peer.closed.is_set():
            await _describe_end(peer, listener, result)
        elif answer_at is None:
            result.error = f"no answer was heard within {ANSWER_WAIT:.0f} s after the question"
    except CallError as error:
        result.error = str(error)
    finally:
        result.region, result.ingress = peer.region, peer.ingress
        await peer.close()
    return result, listener.recording(start)


async def _describe_end(peer: Peer, listener: Listener, result: CallResult) -> None:
    """Put into the result why the server ended the call: a goodbye, or a fault."""
    status = await peer.fate()
    result.ended = status.message if status and status.over else "the server ended the call"
    # A goodbye in place of an answer is one too. A call that the server does not know is judged by its audio.
    spoke = listener.last_audible is not None
    fault = status.fault if status and status.over else not spoke
    result.ok = spoke and not fault
    if not result.ok:
        result.error = result.ended


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `antiphon call`."""
    question = parser.add_mutually_exclusive_group(required=True)
    question.add_argument("--wav", type=Path, help="the question: PCM WAV, any rate, mono or stereo")
    question.add_argument("--say", metavar="TEXT", help="the question as text, spoken by the built-in voice")
    parser.add_argument("--out", type=Path, help="where to write the answer as WAV (24 kHz mono)")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the server (default: %(default)s)")
    parser.add_argument("--agent", help="which agent to talk to (default: the server's)")
    parser.add_argument("--key", default=os.environ.get("ANTIPHON_API_KEY"), help="API key (or ANTIPHON_API_KEY)")
    parser.add_argument("--relay", metavar="IP:PORT", help="send media there instead of to the address in the answer")
    parser.add_argument(
        "--region", metavar="NAME", help="call as from this region of the server's (default: it finds out)"
    )
    parser.add_argument(
        "--prepared",
        action="store_true",
        help="have the answer before the call, as a page before a press of its button",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Hold the call and print its result; returns the exit status."""
    require_url(args.url)
    question = read_wav(args.wav, RATE) if args.wav is not None else say([args.say], RATE)[0]
    if args.out is not None and not args.out.absolute().parent.is_dir():
        raise UsageError(f"{args.out} can't be written: its folder does not exist")
    try:
        relay = parse_address(args.relay) if args.relay else None
    except MalformedError as error:
        raise UsageError(f"--relay: {error}") from None
    result, answer = asyncio.run(converse(args.url, args.agent, args.key, question, relay, args.region, args.prepared))
    if args.out is not None and len(answer):
        write_wav(args.out, answer, RATE)
    if args.json:
        print(json.dumps({name: value for name, value in asdict(result).items() if name not in OPTIONAL or value}))
    else:
        _print(result)
    return 0 if result.ok else 1


def _print(result: CallResult) -> None:
    if result.error:
        print(f"antiphon call: {result.error}", file=sys.stderr)
    rows = (
        ("understood", result.heard),
        ("answered", result.answered),
        ("region", result.region),
        ("ingress", result.ingress if result.ingress != result.region else ""),
        ("prepared", result.prepared),
        ("setup", f"{result.setup_ms:.0f} ms" if result.setup_ms is not None else ""),
        ("answer after", f"{result.answer_ms:.0f} ms" if result.answer_ms is not None else ""),
        ("ended", result.ended if result.ended and not result.error else ""),
        ("lost packets", "" if result.lost_packets is None else str(result.lost_packets)),
    )
    for name, value in rows:
        if value:
            print(f"{name:>13}: {value}")
