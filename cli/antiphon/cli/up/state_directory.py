"""A directory that exists as long as one supervisor, also when that one is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

STATE_PREFIX: Final = "antiphon-up-"


@contextlib.contextmanager
def state_directory() -> Iterator[Path]:
    """A directory for NATS, removed at the end. Removes those of killed supervisors as well.

    A supervisor holds a lock on its directory while it lives; the kernel drops the lock when it ends in any way.
    """
    for old in Path(tempfile.gettempdir()).glob(f"{STATE_PREFIX}*"):
        with contextlib.suppress(OSError):
            if old.stat().st_uid == os.getuid() and time.time() - old.stat().st_mtime > 10:
                handle = _locked(old)
                shutil.rmtree(old, ignore_errors=True)
                os.close(handle)
    state = Path(tempfile.mkdtemp(prefix=STATE_PREFIX))
    handle = _locked(state)
    try:
        yield state
    finally:
        shutil.rmtree(state, ignore_errors=True)
        os.close(handle)


def _locked(directory: Path) -> int:
    """Take the directory's lock; OSError when another process has it."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle
