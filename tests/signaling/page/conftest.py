"""The page in headless Chromium, with the real signaling service and a network that the test decides on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from support.browsers.chromium import CHROMIUM, QUIET
from support.browsers.page import Open
from support.processes.nats import nats_server
from support.processes.signaling import OFFER, SignalingProcess, StandIns, signaling_process, until

FAKE_PEER = (Path(__file__).parent / "fake_peer.js").read_text() + f"window.fakeOffer = {json.dumps(OFFER)};"
NOT_PREPARED = """
const ask = window.fetch.bind(window);
window.fetch = (url, ...more) => String(url).includes("/v1/realtime/prepare")
  ? Promise.reject(new TypeError("no calls are prepared in this test")) : ask(url, ...more);
"""
"""The pointer of these tests comes to the button as a user's does; what is prepared then has tests of its own."""
ARGUMENTS = [*QUIET, "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def bus_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        yield url


@pytest.fixture(scope="module")
def parts(bus_url: str) -> Iterator[StandIns]:
    stand_ins = StandIns(bus_url)
    stand_ins.transceiver(capacity=10**6)
    stand_ins.relay()
    stand_ins.agent()
    stand_ins.agent("echo")
    yield stand_ins
    stand_ins.close()


@pytest.fixture(scope="module")
def service(bus_url: str, parts: StandIns) -> Iterator[SignalingProcess]:
    with signaling_process(bus_url) as running:
        until(lambda: httpx.get(running.url + "/healthz").status_code == 200, "the stack is healthy")
        yield running


@pytest.fixture
def open_page(browser: Browser, service: SignalingProcess) -> Iterator[Open]:
    """Opens the page; every test also proves that it logged nothing and asked nobody else."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opened(
        url: str = service.url, *, microphone: bool = True, fake_peer: bool = True, quiet: bool = True, **options: Any
    ) -> Page:
        origin = url.split("?")[0]
        context = browser.new_context(permissions=["microphone"] if microphone else [], **options)
        contexts.append(context)
        page = context.new_page()
        if fake_peer:
            page.add_init_script(FAKE_PEER + NOT_PREPARED)
        if quiet:
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(origin) else complaints.append(request.url))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def ready(open_page: Open) -> Page:
    page = open_page()
    expect(page.get_by_label("Agent")).to_have_value("concierge")
    return page
