"""The trace of one call in which relay, agent, transceiver and bridge were killed: it tells one story."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import Final

import numpy as np
import pytest
from support.conditions import until
from support.processes.stack import Stack, running_stack

from antiphon.bench._lib.otlp import OtlpReceiver, Span, otlp_receiver
from antiphon.cli.call.call_listener import Listener
from antiphon.cli.call.voice import say
from antiphon.cli.call.webrtc_client import RATE, Peer

pytestmark = [pytest.mark.realtime, pytest.mark.models, pytest.mark.nightly]

KILLED: Final = ("relay", "demo.concierge", "transceiver", "inference_bridge")
"""`antiphon.<name>` of each; the agent of the demo is a process of its own."""
OF_A_TURN: Final = ("uplink", "publish", "playout", "send", "downlink", "client", "reply")
"""What other processes write under a turn, whose own span its bridge writes when it is over."""
ATTEMPTS: Final = 5
"""Questions until one is answered: what was said while a part was dead may be lost."""


def _replaced(stack: Stack, module: str, killed: int) -> bool:
    try:
        return stack.pid_of(module) != killed
    except LookupError:
        return False


async def _answered(peer: Peer, listener: Listener, question: bytes) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(ATTEMPTS):
        peer.speak(question)
        await until(lambda: not peer.speaking, 20)
        asked = loop.time()
        try:
            await until(partial(listener.audible_since, asked), 8)
        except TimeoutError:
            continue
        await asyncio.sleep(1)  # into the answer
        return
    raise AssertionError("no question was answered")


def _roots(otlp: OtlpReceiver) -> list[Span]:
    return [span for span in otlp.spans if span.name == "call"]


async def test_a_call_that_lost_its_relay_agent_transceiver_and_bridge_is_one_trace() -> None:
    question = np.asarray(say(["What are your opening hours?"], RATE)[0], dtype="<i2").tobytes()
    with otlp_receiver() as otlp:
        settings = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{otlp.url}/v1/traces"}
        with running_stack("--loopback-only", environment=settings) as stack:
            listener = Listener()
            peer = Peer(listener.audio, listener.message)
            try:
                await peer.connect(stack.url, "concierge")
                await _answered(peer, listener, question)
                for module in KILLED:
                    killed = stack.pid_of(module)
                    os.kill(killed, signal.SIGKILL)
                    await until(partial(_replaced, stack, module, killed), 40)
                    await _answered(peer, listener, question)
            finally:
                await peer.close()
            await until(lambda: _roots(otlp), 30)
            await asyncio.sleep(2)  # a batch of each process
    (root,) = _roots(otlp)
    spans = otlp.of_trace(root.trace_id)
    known = {span.span_id for span in spans}
    orphans = [span for span in spans if span.parent_id and span.parent_id not in known]
    assert len({span.parent_id for span in orphans}) <= 1, "but for the turn that the bridge had under way"
    assert {span.name for span in orphans} <= {*OF_A_TURN}
    assert root.attributes["antiphon.call.reason"] in ("client_closed", "hang_up")
    assert not root.failed
    assert int(root.attributes["antiphon.call.moves"]) >= 1
    (moved,) = [span for span in spans if span.name == "take_over"]
    opened = next(span for span in spans if span.name == "open")
    assert moved.links == (opened.span_id,)
    assert moved.resource["service.instance.id"] != opened.resource["service.instance.id"]
    turns = sorted((each for each in spans if each.name == "invoke_agent concierge"), key=lambda span: span.began_ns)
    assert len(turns) >= len(KILLED), "a question before, and one behind each kill, less the one that was lost"
