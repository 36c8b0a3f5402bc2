"""Checks of the media path: a call is opened, and each relay address in its answer is tried."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Final

import httpx

from antiphon.cli.call.call_client import CALLS_PATH, refusal
from antiphon.cli.call.ice_check import reach
from antiphon.cli.call.sdp import Answer, make_offer
from antiphon.cli.doctor.finding import Finding
from antiphon.cli.errors import CallError

CALL_FIXES: Final = {
    401: "Give one of the stack's keys with --key or in ANTIPHON_API_KEY.",
    403: "Ask by a name that the stack serves (--url), or give it ANTIPHON_API_KEYS and one of them here (--key).",
    404: "Name an agent that is there with --agent, or start the one that is missing.",
    503: "Start what the lines above miss; if nothing is missing all calls are taken: end some, or add a transceiver.",
}
"""By the status of a refused offer."""


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
    """End the test call now. If this fails, the transceiver ends the call a while later, as one without media."""
    if location:
        with contextlib.suppress(httpx.HTTPError):
            client.post(f"{location}/hangup", content=b"")
