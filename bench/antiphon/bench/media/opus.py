"""Opus modes for speech: CPU per frame, and what a recogniser still understands, with and without loss.

Each application of libopus encodes the same sentences in 20 ms packets, as a session would (complexity, in-band FEC,
the loss it is told). Packets are lost at random, the same ones for every application; what is lost comes back from the
FEC of the next packet or is concealed, as in a receiver. The decoded audio goes through the bridge's own Whisper; its
word error rate is counted over all sentences. CPU is that of this process, the median over all frames.

How it sounds is MOS-LQO of ViSQOL in audio mode, the mean over the sentences. It is no requirement of ours, because it
brings SciPy: `pip install visqol-python soundfile` (Apache-2.0). No PESQ: the package of that name builds on ITU-T's
reference code, whose licence is for evaluation only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from antiphon.bench._lib.word_errors import word_error_rate, words
from antiphon.cli.call.voice import say
from antiphon.cli.call.wav import Samples, read_wav
from antiphon.cli.errors import UsageError, installing

RATE: Final = 24000
"""Of speech on its way out: what the voice of the bridge and the realtime protocol have."""
RECOGNISER_RATE: Final = 16000
APPLICATIONS: Final = {"voip": 2048, "audio": 2049, "restricted_lowdelay": 2051}
"""Names and numbers as in opus_defines.h."""
FRAME: Final = RATE // 50
SENTENCES: Final = (
    "I would like to book an appointment for tomorrow at half past ten.",
    "Please read the number back to me, four two seven nine.",
    "The quick brown fox jumps over the lazy dog.",
    "She had thought of this before, but nobody had asked her.",
    "Can you move it to Thursday afternoon instead?",
)


class Sentence(NamedTuple):
    """A text and its speech: s16 mono at `RATE`."""

    text: str
    samples: Samples


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recordings", type=Path, help="directory of NAME.wav with NAME.txt beside it (default: the built-in voice)"
    )
    parser.add_argument(
        "--bitrates", type=int, nargs="+", default=[20000, 24000], help="bits per second (default: 20000 24000)"
    )
    parser.add_argument("--loss", type=float, nargs="+", default=[0, 5], help="percent (default: 0 5)")
    parser.add_argument(
        "--applications", nargs="+", choices=APPLICATIONS, default=list(APPLICATIONS), help="default: all of them"
    )
    parser.add_argument(
        "--complexity", type=int, nargs="+", default=[2, 5], help="of the encoder, 0 to 10 (default: 2 5)"
    )
    parser.add_argument("--visqol", action="store_true", help="rate the sound as well (needs visqol-python)")
    parser.add_argument("--rounds", type=int, default=3, help="patterns of loss (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    sentences = _recorded(args.recordings) if args.recordings else _spoken()
    understand = _recogniser()
    unharmed = _wer_percent([(each.text, understand(_at_recogniser_rate(each.samples))) for each in sentences])
    measured = _measure(args, sentences, understand)
    if args.json:
        print(json.dumps({"wer_percent_uncoded": unharmed, "modes": list(measured)}))
        return 0
    print(f"{len(sentences)} sentences, WER without any codec {unharmed} %")
    heads = ("complexity", "kbit/s", "encode us", "decode us", "bytes", "loss %", "WER %", "MOS")
    print(f"{'mode':<20}" + "".join(f"{head:>11}" for head in heads))
    for row in measured:  # each takes a while
        print(
            f"{row['application']:<20}{row['complexity']:>11}{row['bitrate'] / 1000:>11.0f}{row['encode_us']:>11.0f}"
            f"{row['decode_us']:>11.0f}{row['bytes_per_frame']:>11.0f}{row['loss_percent']:>11g}"
            f"{row['wer_percent']:>11.1f}{row['mos'] or '-':>11}",
            flush=True,
        )
    return 0


def _measure(args: argparse.Namespace, sentences: list[Sentence], understand: Any) -> Iterator[dict[str, Any]]:
    rate_sound = _listener() if args.visqol else None
    for name, bitrate, complexity, loss in itertools.product(
        args.applications, args.bitrates, args.complexity, args.loss
    ):
        encode: list[float] = []
        decode: list[float] = []
        sizes: list[int] = []
        pairs: list[tuple[str, str]] = []
        scores: list[float] = []
        for seed in range(args.rounds if loss else 1):
            for number, sentence in enumerate(sentences):
                draw = random.Random(f"{seed} {number} {loss}")
                packets = list(_encoded(sentence, APPLICATIONS[name], bitrate, complexity, loss, encode))
                sizes += map(len, packets)
                lost = [draw.random() < loss / 100 for _ in packets]
                pairs.append((sentence.text, understand(_received(packets, lost, RECOGNISER_RATE, decode))))
                if rate_sound is not None:
                    scores.append(rate_sound(sentence.samples, _received(packets, lost, RATE, [])))
        yield {
            "application": name,
            "complexity": complexity,
            "bitrate": bitrate,
            "loss_percent": loss,
            "encode_us": round(statistics.median(encode), 1),
            "decode_us": round(statistics.median(decode), 1),
            "bytes_per_frame": round(statistics.fmean(sizes), 1),
            "wer_percent": _wer_percent(pairs),
            "mos": round(statistics.fmean(scores), 2) if scores else None,
        }


def _encoded(
    sentence: Sentence, application: int, bitrate: int, complexity: int, loss: float, spent: list[float]
) -> Iterator[bytes]:
    """The packets of a sentence; `spent` gets the CPU of each, us."""
    from antiphon.rtc.media import opus

    encoder = opus.Encoder(RATE, bitrate, complexity, application, complexity)
    encoder.expect_loss(round(loss))
    for start in range(0, len(sentence.samples) - FRAME + 1, FRAME):
        pcm = sentence.samples[start : start + FRAME].astype("<i2").tobytes()
        began = time.process_time_ns()
        packet = encoder.encode(pcm)
        spent.append((time.process_time_ns() - began) / 1000)
        yield packet


def _received(packets: list[bytes], lost: list[bool], rate: int, spent: list[float]) -> bytes:
    """s16le at `rate`, with what was lost recovered from its follower or concealed."""
    from antiphon.rtc.media import opus

    decoder = opus.Decoder(rate)
    received: list[bytes] = []
    for number, packet in enumerate(packets):
        if lost[number]:
            following = number + 1 < len(packets) and not lost[number + 1]
            received.append(decoder.recover(packets[number + 1], 960) if following else decoder.conceal(960))
            continue
        began = time.process_time_ns()
        received.append(decoder.decode(packet))
        spent.append((time.process_time_ns() - began) / 1000)
    return b"".join(received)


def _spoken() -> list[Sentence]:
    return [Sentence(text, samples) for text, samples in zip(SENTENCES, say(list(SENTENCES), RATE), strict=True)]


def _recorded(directory: Path) -> list[Sentence]:
    found = []
    for path in sorted(directory.glob("*.wav")):
        try:
            text = path.with_suffix(".txt").read_text().strip()
        except OSError:
            raise UsageError(f"{path} has no {path.stem}.txt beside it with its text") from None
        found.append(Sentence(text, read_wav(path, RATE)))
    if not found:
        raise UsageError(f"{directory} holds no WAV files")
    return found


def _listener() -> Callable[[Samples, bytes], float]:
    """ViSQOL: MOS-LQO of the decoded speech against the original, both s16 at `RATE`."""
    import soxr

    try:
        from visqol import VisqolApi
    except ModuleNotFoundError as error:
        raise UsageError(f"--visqol needs {error.name}: pip install visqol-python soundfile") from None
    judge = VisqolApi()
    judge.create(mode="audio")

    def rate(said: Samples, received: bytes) -> float:
        pair = [soxr.resample(each / 32768, RATE, 48000) for each in (said, np.frombuffer(received, "<i2"))]
        return float(judge.measure_from_arrays(pair[0][: len(pair[1])], pair[1], 48000).moslqo)

    return rate


def _recogniser() -> Any:
    """The bridge's transcriber as a function of s16le at `RECOGNISER_RATE`."""
    try:
        from antiphon.inference_bridge.models.local import load_transcriber
        from antiphon.inference_bridge.settings import Settings
    except ModuleNotFoundError as error:
        raise UsageError(f"this bench needs {error.name}: {installing('bench')}") from None
    return load_transcriber(Settings()).transcribe


def _at_recogniser_rate(samples: Samples) -> bytes:
    import soxr

    resampled = soxr.resample(samples.astype(np.float32), RATE, RECOGNISER_RATE)
    pcm: bytes = np.clip(resampled, -32768, 32767).astype("<i2").tobytes()
    return pcm


def _wer_percent(pairs: list[tuple[str, str]]) -> float:
    """Over all pairs of (said, transcript)."""
    return round(100 * word_error_rate((words(said), words(transcript)) for said, transcript in pairs), 1)
