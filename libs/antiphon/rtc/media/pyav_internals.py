"""All use of PyAV beyond its public interface, under names of ours. No decisions here.

Its wheel carries shared libraries that we load ourselves.
`tests/rtc/test_library_internals.py` is the contract: when an upgrade of the library breaks it, change this file.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path


def carried_by_pyav(library: str) -> list[str]:
    """Paths of the shared objects of that name in PyAV's wheel; none where PyAV was built against the system's."""
    spec = importlib.util.find_spec("av")
    if spec is None or spec.origin is None:
        return []
    return [str(path) for path in (Path(spec.origin).parent.parent / "av.libs").glob(f"{library}*")]
