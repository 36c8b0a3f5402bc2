"""Are turns transcribed whole? Our own voice says texts of 1 to 40 s, at several speeds, also digits and letters.

    python -m antiphon.bench.models.whole_turns    # words lost, tokens per second, time; some minutes

The last column is what was transcribed where the text's last word is missing or more than one word in ten is wrong.
"""

from __future__ import annotations

import argparse
import re
import time

import jiwer
import numpy as np
import soxr

from antiphon.inference_bridge.models.local import load_transcriber
from antiphon.inference_bridge.models.sources import lexicon_files, voice_file
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Whisper
from antiphon.inference_bridge.tts.g2p import Lexicon, Phonemizer
from antiphon.inference_bridge.tts.synthesizer import PiperVoice
from antiphon.inference_bridge.tts.text_normalization import speakable

SENTENCES = [
    "I called you last week about the heating in my apartment on the third floor.",
    "The radiator in the bedroom has been cold since Monday morning.",
    "Your colleague told me that somebody would come on Wednesday, but nobody was here.",
    "I have waited the whole afternoon and nobody has called me.",
    "My neighbor below says that the water is dripping through the ceiling of the kitchen.",
    "So I would be grateful if you could send somebody today.",
    "My phone number has changed as well, please write down the new one.",
    "The old contract ends in December and I would like to know what happens then.",
    "By the way, the lamp in the hallway is broken too.",
    "And please tell the plumber to ring twice, because the bell is hard to hear.",
]
SHORT = [
    "What time is it?",
    "I would like to book an appointment.",
    "Can you cancel my appointment?",
    "Please move it to Friday.",
    "My name is Anna Miller.",
    "How much does it cost?",
    "Tomorrow at half past ten.",
    "No, the other one, please.",
    "Is there anything on Monday?",
    "I need to speak to somebody.",
]
DIGITS = list("55550123479981267543")
SPELLED = list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def texts() -> list[tuple[str, float]]:
    """What is said, and how fast."""
    said = [(text, 1.0) for text in SHORT + SENTENCES]
    for count in (2, 3, 4, 6, 8, 10, 12):
        said += [(" ".join((SENTENCES + SHORT)[:count]), speed) for speed in (1.0, 1.5, 2.0)]
    for count in (6, 12, 20):
        said += [(" ".join(DIGITS[:count]) + ".", speed) for speed in (1.0, 1.5)]
    for count in (10, 26, 78):
        said += [(" ".join((SPELLED * 3)[:count]) + ".", speed) for speed in (1.0, 1.5)]
    return said


def plain(text: str) -> list[str]:
    """For comparison: digits and spelled letters one by one, numbers as words, no punctuation."""
    text = re.sub(r"(?<=\d)(?=\d)", " ", text)
    text = re.sub(r"\b[A-Z]{2,}\b|\b(?:[A-Za-z]-)+[A-Za-z]\b", lambda found: " ".join(found[0].replace("-", "")), text)
    return re.findall(r"[a-z']+", speakable(text).lower())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1e9, help="only what is spoken in less than that")
    longest = parser.parse_args().seconds
    voice = PiperVoice(voice_file(None, ""), Phonemizer(Lexicon.read(lexicon_files())), variation=0)
    whisper = load_transcriber(Settings())
    assert isinstance(whisper, Whisper)
    decoded: list[int] = []
    decode = whisper.decode

    def counted(*args: object) -> object:
        result = decode(*args)  # type: ignore[arg-type]
        decoded.append(len(result.sequences_ids[0]))
        return result

    whisper.decode = counted  # type: ignore[assignment, method-assign]
    missed = 0
    for text, speed in texts():
        samples = np.asarray(soxr.resample(voice.synthesize(text, speed), 24000, 16000), dtype="<i2")
        seconds = len(samples) / 16000
        if seconds > longest:
            continue
        decoded.clear()
        began = time.perf_counter()
        transcribed = whisper.transcribe(samples.tobytes())
        took = (time.perf_counter() - began) * 1000
        said, got = plain(text), plain(transcribed)
        wrong = jiwer.wer(" ".join(said), " ".join(got) or "-")
        whole = bool(got) and said[-1] == got[-1] and wrong <= 0.1
        missed += not whole
        print(
            f"{seconds:5.1f} s at {speed:3.1f}: {took:6.0f} ms, tokens {decoded}, {wrong:6.1%} wrong"
            + ("" if whole else f"  {transcribed[:60]} ... {transcribed[-60:]}"),
            flush=True,
        )
    print(f"{missed} of {len(texts())} with a last word missing or more than a tenth wrong")


if __name__ == "__main__":
    main()
