"""The page in Chromium: it prepares the call when the pointer comes to the button, and the click needs no request."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from support.browsers.chromium import chromium_page, wait_for

from antiphon.bench.calls.echo_agent import ECHO
from antiphon.bench.calls.own_stack import OwnStack, own_stack

pytestmark = pytest.mark.realtime

PREPARE, CALLS = "/v1/realtime/prepare", "/v1/realtime/calls"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnStack]:
    with own_stack(tmp_path_factory.mktemp("stack")) as running:
        running.relay()
        running.signaling(ECHO)
        running.echo()
        running.transceiver()
        running.until_healthy()
        yield running


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    """A microphone without a sound."""
    path = tmp_path / "quiet.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(bytes(2 * 48000 * 20))
    return path


def pointed_at(page: Page, url: str) -> list[str]:
    """The pointer is at the button, and the answer is there; the paths that were posted to, also later ones."""
    posted: list[str] = []
    page.on(
        "request", lambda request: posted.append(request.url.removeprefix(url)) if request.method == "POST" else None
    )
    page.goto(url)
    wait_for(page, "document.querySelector('#agent').options.length > 0")
    with page.expect_response(lambda response: PREPARE in response.url) as answered:
        page.locator("#call").hover()
    assert answered.value.status == 201
    page.wait_for_timeout(100)
    assert page.evaluate("window.antiphon.state") == "idle"
    return posted


def test_a_click_connects_the_call_that_the_pointer_has_prepared(stack: OwnStack, quiet: Path) -> None:
    with chromium_page(quiet) as page:
        posted = pointed_at(page, stack.url)
        page.locator("#call").click()
        wait_for(page, "['listening', 'speaking'].includes(window.antiphon.state)", seconds=20)
        wait_for(page, "window.antiphon.numbers.packets_received > 10", seconds=20)  # the echo of the microphone
        assert posted == [f"{PREPARE}?agent={ECHO}"]
        page.locator("#call").click()
        wait_for(page, "window.antiphon.state === 'ended'")


@pytest.mark.nightly
def test_where_the_transceiver_was_replaced_since_the_click_places_an_ordinary_call(
    quiet: Path, tmp_path: Path
) -> None:
    with (
        own_stack(tmp_path) as other,
        chromium_page(quiet) as page,
    ):
        other.relay()
        other.signaling(ECHO)
        other.echo()
        first = other.transceiver()
        other.until_healthy()
        posted = pointed_at(page, other.url)
        other.transceiver()
        page.wait_for_timeout(4000)  # it starts, and is announced
        other.kill(first)
        page.locator("#call").click()
        wait_for(page, "['listening', 'speaking'].includes(window.antiphon.state)", seconds=20)
        assert sum(path.startswith(CALLS) and not path.endswith("hangup") for path in posted) == 1
