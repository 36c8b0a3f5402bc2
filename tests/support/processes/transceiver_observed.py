"""What tests of transceiver processes look at and do to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.processes.transceiver_process import ENVIRONMENT, Bench

from antiphon.schemas.audio import AudioFrame, FrameFlag


def kill_nats(directory: Path) -> None:
    """As a power cut would."""
    for ports in directory.glob("*.ports"):
        os.kill(int(ports.stem.rpartition("_")[2]), signal.SIGKILL)


def children_of(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def is_alive(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def others(bench: Bench, count: int) -> list[subprocess.Popen[bytes]]:
    """Further transceivers of the same cluster."""
    environment = os.environ | ENVIRONMENT | {"ANTIPHON_NATS_URL": bench.nats_url}
    return [subprocess.Popen([sys.executable, "-m", "antiphon.transceiver"], env=environment) for _ in range(count)]


def spoken(frames: list[AudioFrame]) -> list[AudioFrame]:
    """Frames of packets that came, not made up for packets that did not."""
    return [frame for frame in frames if not frame.flags & FrameFlag.SILENCE]


def loud(frames: list[AudioFrame]) -> bool:
    return any(max(memoryview(frame.pcm).cast("h")) > 4000 for frame in frames)
