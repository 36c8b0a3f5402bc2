"""A small file of what a relay knew when it last ran: its routes, its ports, its number, and those of other relays.

With it a relay that was killed asks for its clients as soon as a worker is up, from addresses that the transceivers and
other relays still trust; without it, or when it is old, the relay first connects to NATS and is announced again.
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

Identity = tuple[int, int, int]

GOOD_FOR_SECONDS: Final = 60.0
"""After a while other processes may have these addresses."""


class StateFile(NamedTuple):
    """What the file holds; a value that the worker pool keeps."""

    routes: list[tuple[int, int, int, str]]
    tunnel_ports: list[int]
    backbone_ports: list[int]
    relays: list[tuple[int | None, str, int, str, list[str]]]
    """As `ipc.Backbone`."""
    moves: list[tuple[Identity, Identity, int]]
    """Old identity, new identity, ms of Unix time when the move was made."""
    ingress: int
    """The relay's number; 0: it had none."""


NOTHING: Final = StateFile([], [], [], [], [], 0)


def read(path: Path | None) -> StateFile:
    """The file's content; `NOTHING` if there is no file, it is old or it can't be read."""
    if path is None:
        return NOTHING
    try:
        if not 0 <= time.time() - path.stat().st_mtime < GOOD_FOR_SECONDS:
            return NOTHING
        content = json.loads(path.read_bytes())
        routes = [(int(c), int(s), int(e), str(parse_address(at))) for c, s, e, at in content["routes"]]
        return StateFile(
            routes,
            _ports(content["tunnel_ports"]),
            _ports(content.get("backbone_ports", [])),
            [_relay(*row) for row in content.get("relays", [])],
            [(_identity(old), _identity(new), int(made_at)) for old, new, made_at in content.get("moves", [])],
            int(content.get("ingress", 0)),
        )
    except FileNotFoundError:
        return NOTHING
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        log.warning("ANTIPHON_RELAY_STATE_FILE %s is not used: %s", path, error)
        return NOTHING


def _ports(ports: list[int]) -> list[int]:
    return [int(port) for port in ports]


def _identity(parts: list[int]) -> Identity:
    cluster, slot, epoch = map(int, parts)
    return cluster, slot, epoch


def _relay(
    cluster: int | None, name: str, ingress: int, state: str, addresses: list[str]
) -> tuple[int | None, str, int, str, list[str]]:
    own = [str(parse_address(text)) for text in addresses]
    return None if cluster is None else int(cluster), str(name), int(ingress), str(state), own


def write(path: Path, state: StateFile) -> None:
    """Replace the file in one step."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(state._asdict()))
        beside.replace(path)
    except OSError as error:
        log.warning("ANTIPHON_RELAY_STATE_FILE %s can't be written: %s", path, error.strerror)
