"""Two instances accept one claim at the same moment: the first has the call, and nothing says that it has ended."""

from __future__ import annotations

import pytest
from nats.aio.msg import Msg
from support.processes.transceiver_process import transceiver_process

from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import encode

pytestmark = pytest.mark.process

CALLS = 5


async def test_a_second_acceptance_at_the_same_moment_does_not_end_the_call(nats_url: str) -> None:
    async with transceiver_process(nats_url) as bench:
        other = await connection.connect(nats_url, "test")

        async def accept(message: Msg) -> None:
            """Both answers are in one write, so the transceiver reads them before it goes on with the first."""
            for instance in ("a", "b"):
                reply = messages.ClaimReply(accepted=True, input_rate=16000, instance=instance)
                await other.publish(message.reply, encode(reply))

        bench.accepting = False
        await other.subscribe(subjects.agent_claim("echo"), cb=accept)
        try:
            for _ in range(CALLS):
                peer, line = await bench.call()
                late = [event for event in line.events if isinstance(event, messages.ClaimExpired)]
                assert [event.instance for event in late] == ["b"]
                assert line.ended is None
                await peer.close()
        finally:
            await other.close()
