"""`antiphon doctor`: checks a running stack from where the caller stands, and names what to fix.

Each check is one function that returns findings; none of them raises. The order is from the ground up, so
the first failure is usually the cause of the ones below it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import importlib.util
import ipaddress
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

import httpx
from nats.aio.client import Client
from pydantic import ValidationError

from antiphon.cli.call_client import CALLS_PATH, refusal, require_url
from antiphon.cli.errors import CallError, installing
from antiphon.cli.health import ask_health
from antiphon.cli.ice_check import reach
from antiphon.cli.sdp import Answer, make_offer
from antiphon.runtime.nats.server_url import DEFAULT_NATS_URL, without_password

DEFAULT_URL: Final = "http://127.0.0.1:8080"
REGISTER_NAMES: Final = ("antiphon-relay", "antiphon-transceiver", "antiphon-signaling", "antiphon-agent")
LIBRARIES: Final = {
    "relay": ("cryptography",),
    "transceiver": ("aiortc", "cffi", "pylibsrtp", "OpenSSL"),
    "signaling": ("fastapi", "uvicorn"),
    "inference-bridge": ("faster_whisper", "onnxruntime", "soxr"),
}
"""By extra, what is imported of it; packages that carry models are looked at with the models."""

CALL_FIXES: Final = {
    401: "Give one of the stack's keys with --key or in ANTIPHON_API_KEY.",
    403: "Ask by a name that the stack serves (--url), or give it ANTIPHON_API_KEYS and one of them here (--key).",
    404: "Name an agent that is there with --agent, or start the one that is missing.",
    503: "Start what the lines above miss; if nothing is missing all calls are taken: end some, or add a transceiver.",
}
"""By the status of a refused offer."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    state: Literal["ok", "fail", "note"]
    """`note`: nothing is broken, but something is worth knowing."""
    message: str
    fix: str = ""
    """What to do about it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", default=DEFAULT_URL, help="the stack's address (default: %(default)s)")
    parser.add_argument(
        "--nats",
        default=os.environ.get("ANTIPHON_NATS_URL", DEFAULT_NATS_URL),
        metavar="URL",
        help="the NATS server, or `none` when it cannot be reached from here (default: %(default)s)",
    )
    parser.add_argument(
        "--agent", metavar="NAME", help="the agent for the test call (default: the stack's default agent)"
    )
    parser.add_argument(
        "--key",
        default=os.environ.get("ANTIPHON_API_KEY", ""),
        help="API key of the stack, when it asks for one (default: the variable ANTIPHON_API_KEY)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    require_url(args.url)
    findings: list[Finding] = []
    for check in checks(args):
        for finding in check():
            findings.append(finding)
            if not args.json:
                _show(finding)
    ok = all(finding.state != "fail" for finding in findings)
    if args.json:
        print(json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print("All is well." if ok else "Something is wrong: see the lines marked FAIL, the first one first.")
    return 0 if ok else 1


def checks(args: argparse.Namespace) -> list[Callable[[], Iterator[Finding]]]:
    return [
        check_python,
        check_models,
        lambda: check_nats(args.nats),
        lambda: check_health(args.url),
        lambda: check_page(args.url),
        lambda: check_udp(args.url, args.agent, args.key),
    ]


def _show(finding: Finding) -> None:
    mark = {"ok": " ok ", "fail": "FAIL", "note": "note"}[finding.state]
    if sys.stdout.isatty():
        mark = f"\x1b[{ {'ok': 32, 'fail': 31, 'note': 33}[finding.state] }m{mark}\x1b[0m"
    print(f"{mark}  {finding.check}: {finding.message}", flush=True)
    if finding.fix:
        print(f"      {finding.fix}", flush=True)


# ---- this machine ------------------------------------------------------------------------------------


def check_python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok", f"{version}, antiphon {importlib.metadata.version('antiphon')}")
    for extra, modules in LIBRARIES.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            yield Finding(
                "libraries",
                "note",
                f"{extra} cannot run from this environment: {', '.join(missing)} not installed",
                f"{installing(extra)}, unless {extra} runs elsewhere",
            )


def check_models() -> Iterator[Finding]:
    """The speech models of this environment, by the hashes that the inference bridge has on record."""
    if importlib.util.find_spec("faster_whisper") is None:
        return
    try:
        from antiphon.inference_bridge.models import sources as models
        from antiphon.inference_bridge.settings import Settings, what_is_wrong
    except ImportError as error:
        fix = "pip install --force-reinstall '.[inference-bridge]' in a clone of Antiphon"
        yield Finding("models", "fail", f"the inference bridge can't be imported: {error}", fix)
        return
    try:
        settings = Settings()
    except ValidationError as error:
        fix = "Correct the variable, or leave it unset."
        yield Finding("models", "fail", f"not looked at: {what_is_wrong(error)}", fix)
        return
    own = {
        "voice activity": (settings.vad_path, settings.vad_sha256),
        "end of turn": (settings.smart_turn_path, settings.smart_turn_sha256),
        "speech to text": (settings.whisper_path, settings.whisper_sha256),
        "text to speech": (settings.voice_path, settings.voice_sha256),
    }
    sources: dict[str, Callable[[], object]] = {"voice activity": lambda: models.silero_file(*own["voice activity"])}
    if settings.smart_turn == "on":
        sources["end of turn"] = lambda: models.smart_turn_file(*own["end of turn"])
    if settings.stt == "local":
        sources["speech to text"] = lambda: models.whisper_directory(*own["speech to text"], settings.cache_dir)
    if settings.tts == "local":
        sources["text to speech"] = lambda: models.voice_file(*own["text to speech"])
        sources["lexicons"] = models.lexicon_files
    for name, source in sources.items():
        path, sha256 = own.get(name, (None, ""))
        try:
            source()
        except models.ModelError as error:
            yield Finding("models", "fail", f"{name}: {error.problem}", error.fix)
        else:
            with_hash = "no hash to compare with" if path and not sha256 else "with the recorded hash"
            yield Finding("models", "ok", f"{name}: present, {with_hash}")


# ---- the stack ---------------------------------------------------------------------------------------


def check_nats(url: str) -> Iterator[Finding]:
    if url == "none":
        yield Finding("nats", "note", "not asked (--nats none)")
        return
    yield from asyncio.run(_ask_nats(url))


async def _ask_nats(url: str) -> list[Finding]:
    import nats.errors

    from antiphon.runtime.nats.connection import connect_once
    from antiphon.runtime.nats.service_discovery import instances

    shown = without_password(url)
    fix = "Start the stack with `antiphon up`, or name the server with --nats URL (--nats none to leave this out)."
    try:
        client = await connect_once(url, "antiphon-doctor")
    except (OSError, TimeoutError, ValueError, nats.errors.Error) as error:
        return [Finding("nats", "fail", f"{shown} cannot be reached ({str(error) or type(error).__name__})", fix)]
    findings = [Finding("nats", "ok", f"{shown}, server {_version(client)}")]
    try:
        for name in REGISTER_NAMES:
            found = await instances(client, name)
            what = name.removeprefix("antiphon-")
            if found:
                agents = sorted({metadata["agent"] for metadata in found if "agent" in metadata})
                detail = f": {', '.join(agents)}" if agents else ""
                findings.append(Finding(what, "ok", f"{len(found)} in the services register{detail}"))
            else:
                fix = f"Start it; if it runs, its log says why it is not connected to {shown}."
                findings.append(Finding(what, "fail", "none in the services register", fix))
    finally:
        await client.close()
    return findings


def _version(client: Client) -> str:
    version = client.connected_server_version
    return f"{version.major}.{version.minor}.{version.patch}"


def check_health(url: str) -> Iterator[Finding]:
    health = ask_health(url)
    if health.ready:
        yield Finding("health", "ok", f"{urljoin(url, '/healthz')} says that a call would succeed")
    else:
        yield Finding("health", "fail", f"{urljoin(url, '/healthz')}: {health.message}", "Start what is missing.")
    for trouble in health.troubles:
        yield Finding("agent", "fail", f"agent {trouble}", "Its log names the address, and what to do.")


def check_page(url: str) -> Iterator[Finding]:
    """The page, and whether a browser would give it the microphone (secure contexts only: W3C Secure Contexts)."""
    page = urljoin(url, "/")
    try:
        reply = httpx.get(page, timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        yield Finding("page", "fail", f"{page} cannot be loaded ({error})", "Is signaling running, is the URL right?")
        return
    if reply.status_code != 200 or "text/html" not in reply.headers.get("content-type", ""):
        yield Finding("page", "fail", f"{page} answers {reply.status_code}, not a page", "Is this Antiphon's address?")
        return
    parts = urlsplit(url)
    if parts.scheme == "https" or _is_loopback(parts.hostname or ""):
        yield Finding("page", "ok", f"{page} is served, and browsers give it the microphone")
    else:
        yield Finding(
            "page",
            "note",
            f"{page} is served, but browsers give the microphone to https pages and to localhost only",
            "Put a TLS proxy in front, or forward the port: ssh -L 8080:127.0.0.1:8080 SERVER",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


# ---- the media path ----------------------------------------------------------------------------------


def check_udp(url: str, agent: str | None, key: str) -> Iterator[Finding]:
    """Open a call, send an authenticated STUN request to every relay address in its answer, hang up."""
    local_ufrag = secrets.token_hex(4)
    fingerprint = ":".join(f"{byte:02X}" for byte in secrets.token_bytes(32))
    offer = make_offer(local_ufrag, secrets.token_hex(12), fingerprint, secrets.randbits(31) + 1, data_channel=False)
    headers = {"Content-Type": "application/sdp"} | ({"Authorization": f"Bearer {key}"} if key else {})
    parameters = {"agent": agent} if agent else {}
    with httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=False) as client:
        try:
            reply = client.post(CALLS_PATH, content=offer, params=parameters)
        except httpx.HTTPError as error:
            yield Finding("call", "fail", f"the offer got no answer ({error})", "Is signaling running?")
            return
        if reply.status_code != 201:
            fix = CALL_FIXES.get(reply.status_code, "Its log says more; is this Antiphon's address?")
            yield Finding("call", "fail", f"the offer was answered {reply.status_code}: {refusal(reply)}", fix)
            return
        yield Finding("call", "ok", "a session was opened")
        try:
            yield from _reach_relays(reply.text, local_ufrag)
        finally:
            _hang_up(client, reply.headers.get("location", ""))


def _reach_relays(sdp: str, local_ufrag: str) -> Iterator[Finding]:
    try:
        answer = Answer(sdp)
    except CallError as error:
        yield Finding("udp", "fail", str(error), "Is the relay running, and connected to NATS?")
        return
    for candidate in answer.candidates:
        try:
            milliseconds = reach(answer, candidate, local_ufrag)
        except OSError as error:
            yield Finding(
                "udp", "fail", f"{candidate}: {error}", "The relay is reached, but not the session behind it."
            )
            continue
        if milliseconds is None:
            yield Finding(
                "udp",
                "fail",
                f"{candidate} does not answer within 3 s",
                f"Open UDP port {candidate.port} in firewalls on the way, and check that the relay's public address "
                f"({candidate.host}) is one that this machine can reach: ANTIPHON_RELAY_PUBLIC_ADDRESSES",
            )
        else:
            text = f"{candidate} leads to the transceiver and back in {milliseconds:.1f} ms, authenticated"
            yield Finding("udp", "ok", text)


def _hang_up(client: httpx.Client, location: str) -> None:
    """End the test call now; were this to fail, the transceiver ends a call without media by itself."""
    if location:
        with contextlib.suppress(httpx.HTTPError):
            client.post(f"{location}/hangup", content=b"")
