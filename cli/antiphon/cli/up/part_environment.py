"""Which environment variables each part of `antiphon up` gets: named ones, not all of ours.

A shell holds more than a part needs: keys of clouds, tokens of registries. A part gets what programs need to run at
all, its own settings, and no secret of another part. A plug-in is other people's code: it gets no setting of ours but
those of the log and of traces, and what `--plugin-env` names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final

COMMON: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TERM|TMPDIR|XDG_(CACHE|RUNTIME|CONFIG|DATA)_\w+|"
    r"LD_LIBRARY_PATH|LD_PRELOAD|MALLOC_\w+|PYTHON\w*|VIRTUAL_ENV|COVERAGE_\w+|"
    r"SSL_CERT_(FILE|DIR)|(HTTP|HTTPS|ALL|NO)_PROXY|(http|https|all|no)_proxy"
)
"""What programs need to run at all."""
MODELS: Final = re.compile(r"(OMP|MKL|OPENBLAS|ORT|CT2|KMP)_\w+|CUDA_\w+|NVIDIA_\w+")
"""Threads and devices of the libraries that run models."""
TRACES: Final = re.compile(r"OTEL_\w+")
TRACE_SECRETS: Final = re.compile(r"OTEL_\w*HEADERS")
"""May hold the token of a collector."""
LOG: Final = re.compile(r"ANTIPHON_LOG_\w+|ANTIPHON_LOOP_WATCHDOG_SECONDS")
SECRET: Final = re.compile(
    r"ANTIPHON_\w*(KEY|KEYS|SECRET|SECRETS|TOKEN|PASSWORD|CREDENTIALS)(_FILE)?|ANTIPHON_COPY_OF_FILE"
)
"""Settings that are secrets, or name a file with one."""
OWNERS: Final = (
    (re.compile(r"ANTIPHON_(API|SECRET|CLIENT_SECRET|WEBHOOK)_\w+"), "signaling"),
    (re.compile(r"ANTIPHON_(LLM|STT|TTS|LEASE)_\w+"), "inference-bridge"),
    (re.compile(r"ANTIPHON_(BACKBONE|CLUSTER)_\w+"), "relay"),
    (re.compile(r"ANTIPHON_COPY_\w+"), "transceiver"),
)
"""Which part a secret is for; one that is not listed goes to none."""
DECIDED: Final = (
    "ANTIPHON_NATS_",
    "ANTIPHON_ROUTE_KEYS",
    "ANTIPHON_PASSWORD_KEY",
    "ANTIPHON_RELAY_BIND",
    "ANTIPHON_RELAY_PUBLIC_ADDRESSES",
    "ANTIPHON_RELAY_TUNNEL_",
    "ANTIPHON_RELAY_TCP_",
    "ANTIPHON_HTTP_BIND",
    "ANTIPHON_SLOT",
)
"""Prefixes of what `antiphon up` decides itself, by its options or anew in each run."""
OF_RELAY: Final = {"ANTIPHON_REGION": "ANTIPHON_RELAY_REGION", "ANTIPHON_PLACE": "ANTIPHON_RELAY_PLACE"}
"""Settings that relays have under another name."""
SERVICES: Final = ("relay", "transceiver", "signaling", "inference-bridge")


def environment_of(part: str, ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables for `nats` or a service, out of our own."""
    found = {name: value for name, value in ours.items() if _is_for(part, name)} | {"PYTHONUNBUFFERED": "1"}
    if part == "relay":  # it stands where the stack does
        for of_stack, of_relay in OF_RELAY.items():
            if of_stack in found:
                found.setdefault(of_relay, found[of_stack])
    return found


def environment_of_plugin(named: Iterable[str], ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables for a plug-in; `named` are those that the user allows besides."""
    allowed = set(named)
    kept = {
        name: value
        for name, value in ours.items()
        if name in allowed
        or COMMON.fullmatch(name)
        or LOG.fullmatch(name)
        or (TRACES.fullmatch(name) and not TRACE_SECRETS.fullmatch(name))
    }
    return kept | {"PYTHONUNBUFFERED": "1"}


def _is_for(part: str, name: str) -> bool:
    if COMMON.fullmatch(name):
        return True
    if part not in SERVICES or name.startswith(DECIDED):
        return False
    if SECRET.fullmatch(name):
        return any(part == owner and pattern.fullmatch(name) for pattern, owner in OWNERS)
    if name.startswith("ANTIPHON_") or TRACES.fullmatch(name):
        return True
    return part == "inference-bridge" and MODELS.fullmatch(name) is not None
