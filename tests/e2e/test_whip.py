"""A WHIP client in Chromium against the whole stack: its speech arrives, and ICE restarts without another offer."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page
from support.browsers.chromium import chromium_page
from support.conditions import wait_until
from support.models.voice import silence, write_microphone
from support.processes.stack import Stack

pytestmark = [pytest.mark.realtime, pytest.mark.models, pytest.mark.nightly]

CLIENT = Path(__file__).with_name("whip_client.js")
CONNECTED = "whip.connection.connectionState === 'connected'"


def client_in(page: Page, stack: Stack, endpoint: str, options: str = "{}") -> None:
    """The page's `whip` is a client that has published to this endpoint."""
    page.goto(stack.url)
    page.evaluate(f"() => {{ {CLIENT.read_text()} }}")
    page.evaluate(f"window.whip = new WhipClient('{endpoint}'); whip.publish({options})")
    wait_until(lambda: page.evaluate(CONNECTED), 20)


def test_a_client_that_hears_the_agent_too_goes_on_after_an_ice_restart_by_a_fragment(
    stack: Stack, tmp_path: Path
) -> None:
    with chromium_page(write_microphone(tmp_path / "quiet.wav", silence(60))) as page:
        client_in(page, stack, "/v1/whip/echo?sendrecv=true", "{receive: true}")
        wait_until(lambda: page.evaluate("whip.packets()")["received"] > 20, 20)
        assert page.evaluate("whip.trickle()") == 204
        first = page.evaluate("whip.tag")
        ufrag = page.evaluate("whip.restart()")
        assert page.evaluate("whip.tag") == f'"{ufrag}"' != first
        before = page.evaluate("whip.packets()")["received"]
        wait_until(lambda: page.evaluate("whip.connection.iceConnectionState") in ("connected", "completed"), 10)
        wait_until(lambda: page.evaluate("whip.packets()")["received"] > before + 50, 10)
        assert page.evaluate("whip.end()") == 200
        assert page.evaluate("whip.requests") == ["POST 201", "PATCH 204", "PATCH 200", "DELETE 200"]


def test_a_camera_beside_the_microphone_is_declined_and_the_speech_arrives(stack: Stack, tmp_path: Path) -> None:
    with chromium_page(write_microphone(tmp_path / "quiet.wav", silence(60))) as page:
        client_in(page, stack, "/v1/whip/echo", "{video: true}")
        answer = page.evaluate("whip.answer")
        assert "a=recvonly" in answer
        assert "m=video 0 " in answer
        wait_until(lambda: page.evaluate("whip.packets()")["sent"] > 20, 20)
        assert page.evaluate("whip.end()") == 200
