"""A token bucket: a rate per second, and a burst at once after a pause. Sans-IO."""

from __future__ import annotations


class TokenBucket:
    """Owner: the object that it limits, from that one's thread only. It starts full."""

    def __init__(self, rate: float, burst: float) -> None:
        """`rate`: tokens that come back per second; `burst`: the most that it holds."""
        self.rate, self.burst = rate, burst
        self._tokens = burst
        self._filled_at = float("-inf")

    def take(self, amount: float, now: float) -> bool:
        """Take so many tokens, or none if there are fewer. A full bucket gives also more than `burst`."""
        if self.wait(amount, now) > 0:
            return False
        self._tokens -= amount
        return True

    def spend(self, amount: float) -> None:
        """Take so many tokens, also more than there are: then the next ones come later. `wait` was asked before."""
        self._tokens -= amount

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `take` succeeds."""
        if now > self._filled_at:
            self._tokens = min(self.burst, self._tokens + self.rate * (now - self._filled_at))
            self._filled_at = now
        return max(0.0, (min(amount, self.burst) - self._tokens) / self.rate)
