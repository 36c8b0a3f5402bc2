"""A small file of what a relay knew when it last ran: routes, and the ports of its tunnel sockets.

With it a relay that was killed asks for its clients as soon as a worker is up, from addresses that the transceivers
still trust; without it, or when it is old, the relay first connects to NATS and is announced again.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from antiphon.schemas.addresses import parse_address

log = logging.getLogger(__name__)

GOOD_FOR_SECONDS: Final = 60.0
"""After a while other processes may have these addresses."""


class StateFile(NamedTuple):
    """What the file holds; a value that the worker pool keeps."""

    routes: list[tuple[int, int, int, str]]
    tunnel_ports: list[int]


NOTHING: Final = StateFile([], [])


def read(path: Path | None) -> StateFile:
    """The file's content; `NOTHING` if there is no file, it is old or it can't be read."""
    if path is None:
        return NOTHING
    try:
        if not 0 <= time.time() - path.stat().st_mtime < GOOD_FOR_SECONDS:
            return NOTHING
        content = json.loads(path.read_bytes())
        routes = [(int(c), int(s), int(e), str(parse_address(at))) for c, s, e, at in content["routes"]]
        return StateFile(routes, [int(port) for port in content["tunnel_ports"]])
    except FileNotFoundError:
        return NOTHING
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("ANTIPHON_RELAY_STATE_FILE %s is not used: %s", path, error)
        return NOTHING


def write(path: Path, state: StateFile) -> None:
    """Replace the file in one step."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(state._asdict()))
        beside.replace(path)
    except OSError as error:
        log.warning("ANTIPHON_RELAY_STATE_FILE %s can't be written: %s", path, error.strerror)
