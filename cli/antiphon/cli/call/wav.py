"""WAV files: 16-bit PCM of any rate and number of channels in, mono out."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from antiphon.cli.errors import UsageError

Samples = NDArray[np.int16]


def read_wav(path: Path, rate: int) -> Samples:
    """The file as mono 16-bit samples at `rate` Hz; UsageError names what is wrong with it."""
    samples, own = _read(path)
    return _resampled(samples.astype(np.float32).mean(axis=1), own, rate)


def read_channel(path: Path, channel: int, rate: int) -> Samples:
    """One channel of the file at `rate` Hz; unchanged if that is the file's own rate."""
    samples, own = _read(path)
    if channel >= samples.shape[1]:
        raise UsageError(f"{path} has {samples.shape[1]} channels")
    if own == rate:
        return samples[:, channel].astype(np.int16)
    return _resampled(samples[:, channel].astype(np.float32), own, rate)


def _read(path: Path) -> tuple[Samples, int]:
    """All channels, and the rate."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, own = file.getnchannels(), file.getsampwidth(), file.getframerate()
            data = file.readframes(file.getnframes())
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from None
    except (EOFError, wave.Error) as error:
        raise UsageError(
            f"{path} can't be read as WAV ({error}): give a PCM file such as sox or ffmpeg writes"
        ) from None
    if width != 2:
        raise UsageError(f"{path} has {8 * width} bits per sample: convert it to 16-bit PCM")
    samples = np.frombuffer(data[: len(data) // (2 * channels) * 2 * channels], dtype="<i2").reshape(-1, channels)
    if not len(samples):
        raise UsageError(f"{path} holds no audio")
    return samples, own


def _resampled(mono: NDArray[np.float32], own: int, rate: int) -> Samples:
    scaled = mono / np.float32(32768)
    if own != rate:
        scaled = soxr.resample(scaled, own, rate)
    samples16: Samples = np.clip(scaled * 32767, -32768, 32767).astype(np.int16)
    return samples16


def write_wav(path: Path, samples: Samples, rate: int) -> None:
    """Write mono 16-bit PCM."""
    try:
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.astype("<i2").tobytes())
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from None


def last_voiced(samples: Samples, threshold: float = 0.01) -> int:
    """Index after the last sample louder than `threshold` of full scale: where the speech ends."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > threshold * 32768)
    return int(loud[-1]) + 1 if len(loud) else len(samples)
