"""What `session.audio(rate=...)` costs at a rate other than the agent's: processor time per frame of 20 ms.

python -m antiphon.bench.models.resampling
"""

import random
import time
from array import array

from antiphon.agent.resampling import Resampler
from antiphon.schemas.audio import RATES

FRAMES = 250
ROUNDS = 5


def cost_ms(source: int, target: int) -> float:
    """Median over the rounds of the mean over five seconds of noise."""
    chance = random.Random(1)
    frames = [array("h", (chance.randint(-8000, 8000) for _ in range(source // 50))).tobytes() for _ in range(FRAMES)]
    costs = []
    for _ in range(ROUNDS):
        resampler, began = Resampler(source, target), time.process_time()
        for frame in frames:
            resampler.push(frame)
        costs.append((time.process_time() - began) * 1000 / FRAMES)
    return sorted(costs)[ROUNDS // 2]


if __name__ == "__main__":
    for source in RATES:
        for target in RATES:
            if source != target:
                print(f"{source:6} to {target:5} Hz: {cost_ms(source, target):.3f} ms")
