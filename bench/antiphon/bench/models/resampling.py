"""What audio at other rates costs an agent, heard or spoken: processor time per frame of 20 ms."""

from __future__ import annotations

import argparse
import random
import time
from array import array
from typing import Final

from antiphon.agent.pcm import FRAME_RATES
from antiphon.bench._lib.statistics import median
from antiphon.runtime.odd_rate import OddRateResampler
from antiphon.runtime.resampling import Resampler
from antiphon.schemas.audio import RATES

FRAMES: Final = 250
ROUNDS: Final = 5


def cost_ms(source: int, target: int) -> float:
    """Median over the rounds of the mean over five seconds of noise."""
    chance = random.Random(1)
    frames = [array("h", (chance.randint(-8000, 8000) for _ in range(source // 50))).tobytes() for _ in range(FRAMES)]
    costs = []
    for _ in range(ROUNDS):
        resampler = OddRateResampler(source, target) if source in FRAME_RATES else Resampler(source, target)
        began = time.process_time()
        for frame in frames:
            resampler.push(frame)
        costs.append((time.process_time() - began) * 1000 / FRAMES)
    return median(costs, 6)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none."""


def run(args: argparse.Namespace) -> int:
    for source in RATES:
        for target in RATES:
            if source != target:
                print(f"{source:6} to {target:5} Hz: {cost_ms(source, target):.3f} ms")
    for source, target in FRAME_RATES.items():
        print(f"{source:6} to {target:5} Hz: {cost_ms(source, target):.3f} ms")
    return 0
