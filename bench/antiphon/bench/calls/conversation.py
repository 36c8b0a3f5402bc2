"""A whole conversation: wait for an answer, the stack's own share of it, time to silence, word error rate.

Needs a running stack (`antiphon up`) and its NATS address. Four numbers:

- `answer_ms`: end of the caller's speech to the first answering audio at the client, over read speech.
- `stack_share_ms`: the same with an agent that answers at once, when a frame of silence follows speech: all that the
  stack itself takes, both ways, the 20 ms of that frame included.
- `barge_in_ms`: first loud sample of a caller that talks over the agent to the last audible audio of the agent.
- `wer`: word error rate of the transcripts, case and punctuation left aside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from antiphon.bench._lib.loudness import is_audible
from antiphon.bench._lib.statistics import percentiles
from antiphon.bench._lib.word_errors import word_error_rate, words
from antiphon.bench.calls.instant_agent import INSTANT, instant_agent
from antiphon.cli.call.call_listener import AUDIBLE, Listener
from antiphon.cli.call.command import converse
from antiphon.cli.call.voice import say
from antiphon.cli.call.wav import Samples, read_wav
from antiphon.cli.call.webrtc_client import RATE, Peer
from antiphon.cli.errors import CallError, UsageError
from antiphon.runtime.nats import connection

READ_SPEECH: Final = Path("/usr/share/pocketsphinx/test/data/librivox")
"""Where Debian's pocketsphinx-testdata puts public-domain read speech with its transcript."""
SPOKEN: Final = (
    "What time is it?",
    "I would like to book an appointment for tomorrow at half past ten.",
    "Do I have any appointments?",
    "When are you open on Friday?",
)
LONG_ANSWER: Final = "Help! What can you do?"
INTERRUPTION: Final = "Please stop talking, I have another question."
_SILENCE_S: Final = 0.25
_SPEAKS_WITHIN: Final = 15.0


class Sentence(NamedTuple):
    samples: Samples
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the running stack (default: %(default)s)")
    parser.add_argument(
        "--nats", default=os.environ.get("ANTIPHON_NATS_URL") or connection.DEFAULT_NATS_URL, help="its bus"
    )
    parser.add_argument("--key", default=os.environ.get("ANTIPHON_API_KEY"), help="API key (or ANTIPHON_API_KEY)")
    parser.add_argument("--agent", help="which agent to talk to (default: the server's)")
    help_text = "a folder of WAV files and a file `transcription`, one `text (name)` per line (default: %(default)s)"
    parser.add_argument("--speech", type=Path, default=READ_SPEECH, help=help_text)
    parser.add_argument("--most", type=int, default=20, help="sentences at most (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="tries of the two short measurements (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.most < 1 or args.rounds < 1:
        raise UsageError("--most and --rounds are at least 1")
    sentences, source = sentences_of(args.speech, args.most)
    result = asyncio.run(_measure(args, sentences))
    result["speech"] = source
    if args.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>15}: {value}")
    return 1 if result["failed"] else 0


def sentences_of(folder: Path, most: int) -> tuple[list[Sentence], str]:
    """At most `most` recordings of `folder` and where they are from; else the built-in voice, which is clearer."""
    index = folder / "transcription"
    if not index.is_file():
        if folder != READ_SPEECH:
            raise UsageError(f"--speech {folder}: there is no file `transcription` in it")
        print(f"{folder} is not there: the built-in voice speaks (apt install pocketsphinx-testdata)", file=sys.stderr)
        spoken = say(list(SPOKEN), RATE)
        return [Sentence(*pair) for pair in zip(spoken, SPOKEN, strict=True)][:most], "built-in voice"
    found = []
    for line in index.read_text("utf-8").splitlines():
        match = re.fullmatch(r"\s*(?:<s>)?(.*?)(?:</s>)?\s*\((\S+)\)\s*", line)
        path = folder / f"{match[2]}.wav" if match else None
        if match and path and path.is_file():
            found.append(Sentence(read_wav(path, RATE), match[1]))
    if not found:
        raise UsageError(f"--speech {folder}: no line of `transcription` names a WAV file that is there")
    return found[:most], str(folder)


async def _measure(args: argparse.Namespace, sentences: list[Sentence]) -> dict[str, object]:
    answers: list[float] = []
    failed = 0
    pairs: list[tuple[list[str], list[str]]] = []
    for samples, text in sentences:
        result, _ = await converse(args.url, args.agent, args.key, samples)
        pairs.append((words(text), words(result.heard)))
        if result.answer_ms is None:
            failed += 1
        else:
            answers.append(result.answer_ms)
    shares: list[float] = []
    async with instant_agent(args.nats):
        tone = _tone(0.4)
        for _ in range(args.rounds):
            result, _ = await converse(args.url, INSTANT, args.key, tone)
            if result.answer_ms is None:
                failed += 1
            else:
                shares.append(result.answer_ms)
    silences: list[float] = []
    opening, over = say([LONG_ANSWER, INTERRUPTION], RATE)
    for _ in range(args.rounds):
        silence = await _talk_over(args, opening, over)
        if silence is None:
            failed += 1
        else:
            silences.append(silence)
    return {
        "answer_ms": percentiles(answers),
        "stack_share_ms": percentiles(shares),
        "barge_in_ms": percentiles(silences),
        "wer": round(word_error_rate(pairs), 4),
        "calls": len(sentences) + 2 * args.rounds,
        "failed": failed,
    }


async def _talk_over(args: argparse.Namespace, opening: Samples, over: Samples) -> float | None:
    """ms from the first loud sample of `over` to the last audible one of the agent; None if nothing came of it."""
    loop = asyncio.get_running_loop()
    listener = Listener()
    peer = Peer(listener.audio, listener.message)
    try:
        await peer.connect(args.url, args.agent, args.key)
        await _until_quiet(listener)
        began = loop.time()
        peer.speak(opening.tobytes())
        if not await _until_speaking(listener, peer, began):
            return None
        await asyncio.sleep(1.0)  # well into its answer
        loud = int(np.flatnonzero(np.abs(over.astype(np.int32)) > AUDIBLE * 32768)[0])
        onset = loop.time() + loud / RATE
        peer.speak(over.tobytes())
        await asyncio.sleep((len(over) / RATE) + 0.3)
        audible = [at for at, pcm in listener.frames if at >= began and is_audible(pcm)]
        ends = [first for first, second in pairwise([*audible, float("inf")]) if second - first > _SILENCE_S]
        end = next((at for at in ends if at >= onset), None)
        return round((end + 0.02 - onset) * 1000, 1) if end is not None else None
    except CallError:
        return None
    finally:
        await peer.close()


async def _until_quiet(listener: Listener) -> None:
    """The greeting, if there is one, is over."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while loop.time() - max(start + 0.7, listener.last_audible or 0) < 0.8:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _until_speaking(listener: Listener, peer: Peer, since: float) -> bool:
    loop = asyncio.get_running_loop()
    while loop.time() - since < _SPEAKS_WITHIN:
        await asyncio.sleep(0.02)
        if not peer.speaking and listener.audible_since(since) is not None:
            return True
    return False


def _tone(seconds: float) -> Samples:
    wave: Samples = (8000 * np.sin(2 * np.pi * 440 / RATE * np.arange(int(seconds * RATE)))).astype(np.int16)
    return wave
