"""What a caller is told when the agent declines: the status and when to try again, over WebRTC and WebSocket alike."""

from __future__ import annotations

from typing import cast

import pytest

from antiphon.schemas.messages import Refused
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.placement import no_agent_error

pytestmark = pytest.mark.pure


async def test_an_agent_with_too_much_to_do_is_503_with_its_own_time_to_wait_and_without_asking_the_register() -> None:
    no_backend = cast(Backend, None)
    error = await no_agent_error(no_backend, "concierge", Refused(code="no_agent", message="busy", retry_after=7))
    assert (error.status, error.code, error.headers) == (503, "agent_busy", {"Retry-After": "7"})
    assert "'concierge'" in str(error)
