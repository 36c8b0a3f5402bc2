"""What a session says on NATS."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.context import Context

from antiphon.runtime.nats import connection
from antiphon.runtime.nats.publisher import Publisher
from antiphon.schemas import messages, subjects
from antiphon.schemas.messages import decode
from antiphon.transceiver.bus.session_output import SessionOutput
from antiphon.transceiver.net.udp_socket import TunnelSocket

pytestmark = pytest.mark.process


@pytest.mark.parametrize("payload", ["\x01" * 262_144, '{"type":"x"}'], ids=["grows sixfold as JSON", "of any length"])
async def test_a_message_that_nats_can_t_carry_is_told_of_as_an_error(nats_url: str, payload: str) -> None:
    client = await connection.connect(nats_url, "test")
    said = await client.subscribe("antiphon.v1.session.>")
    await client.flush()
    port = TunnelSocket("127.0.0.1", 0)
    outlet = SessionOutput("echo", "rtc_one", port, Publisher(client), Context(), 0.0)
    outlet.message(messages.DataMessage.of("oai-events", payload))
    message = await asyncio.wait_for(said.next_msg(5), 5)
    if len(payload) < 100:
        assert message.subject == subjects.data_in("echo", "rtc_one")
        assert decode(message.data, messages.DataMessage).text == payload
    else:
        assert message.subject == subjects.session_event("echo", "rtc_one")
        assert "it is dropped" in decode(message.data, messages.SessionError).message
    port.close()
    await client.close()
