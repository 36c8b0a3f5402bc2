"""What a relay knew when it last ran, in a small file: routes, and the ports of its tunnel sockets.

With it a relay that was killed asks for its clients as soon as a worker is up, from addresses that the
transceivers still trust, and not only when it has found NATS and was announced again. It is a shortcut: without
it, or when it is old, everything is learned from the bus.
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
"""Addresses may belong to somebody else after a while."""


class StateFile(NamedTuple):
    """Empty if there is nothing to go by."""

    routes: list[tuple[int, int, int, str]]
    tunnel_ports: list[int]


NOTHING: Final = StateFile([], [])


def read(path: Path | None) -> StateFile:
    """What the file says; `NOTHING` if there is none, it is old or it can't be read."""
    if path is None:
        return NOTHING
    try:
        if not 0 <= time.time() - path.stat().st_mtime < GOOD_FOR_SECONDS:
            return NOTHING
        said = json.loads(path.read_bytes())
        routes = [(int(c), int(s), int(e), str(parse_address(at))) for c, s, e, at in said["routes"]]
        return StateFile(routes, [int(port) for port in said["tunnel_ports"]])
    except FileNotFoundError:
        return NOTHING
    except (OSError, ValueError, LookupError, TypeError) as error:
        log.warning("ANTIPHON_RELAY_STATE_FILE %s is not used: %s", path, error)
        return NOTHING


def write(path: Path, known: StateFile) -> None:
    """Replace the file in one step."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(known._asdict()))
        beside.replace(path)
    except OSError as error:
        log.warning("ANTIPHON_RELAY_STATE_FILE %s can't be written: %s", path, error.strerror)
