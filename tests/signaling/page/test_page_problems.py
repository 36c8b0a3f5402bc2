"""What the page says when something is wrong, and what it offers instead."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, Route, expect
from support.browsers.page import Open, alert, connect, holds
from support.processes.signaling import StandIns, signaling_process, until

from antiphon.schemas.messages import Refused

pytestmark = pytest.mark.process

LOOKS_AGAIN_MS = 3000
"""The page's time between two looks for agents."""
REJECT = "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', '%s')) }"


def test_a_refused_microphone_is_explained_and_typing_offered(open_page: Open) -> None:
    page = open_page(microphone=False)
    page.get_by_role("button", name="Start call").click()
    alert(page).to_contain_text("The microphone was refused. Allow it for this page")
    page.get_by_role("button", name="Call without a microphone").click()
    holds(page, "window.fakePeer?.answer")
    page.evaluate("fakePeer.become('connected'); fakePeer.open()")
    alert(page).to_have_text("")
    expect(page.get_by_label("Type instead of speaking")).to_be_enabled()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (REJECT % "NotFoundError", "No microphone was found"),
        (REJECT % "NotReadableError", "another program may hold it"),
        ("() => { Object.defineProperty(navigator, 'mediaDevices', {value: undefined}) }", "only to pages from https"),
    ],
    ids=["missing", "held", "insecure"],
)
def test_a_microphone_that_is_not_to_be_had_is_explained(ready: Page, script: str, text: str) -> None:
    ready.evaluate(script)
    ready.get_by_role("button", name="Start call").click()
    alert(ready).to_contain_text(text)
    expect(ready.get_by_role("button", name="Call without a microphone")).to_be_visible()


def test_a_server_that_is_gone_is_explained(open_page: Open, bus_url: str, parts: StandIns) -> None:
    with signaling_process(bus_url) as mortal:
        until(lambda: httpx.get(mortal.url + "/healthz").status_code == 200, "the stack is healthy")
        page = open_page(mortal.url, quiet=False)
        expect(page.get_by_label("Agent")).to_have_value("concierge")
    page.get_by_role("button", name="Start call").click()
    alert(page).to_contain_text("The server does not answer")
    expect(page.get_by_role("button", name="Call again")).to_be_enabled()


def test_a_full_server_says_so_and_when_to_come_back(open_page: Open, parts: StandIns) -> None:
    page = open_page(quiet=False)
    transceiver = parts.running[0]
    reply, transceiver.reply = transceiver.reply, Refused(code="full", message="full")
    try:
        page.get_by_role("button", name="Start call").click()
        alert(page).to_contain_text("The server can't take a call right now")
        alert(page).to_contain_text("Try again in 2 s")
    finally:
        transceiver.reply = reply


def test_an_interrupted_connection_is_shown_and_one_that_stays_lost_ends_the_call(ready: Page) -> None:
    ready.clock.install()
    connect(ready)
    ready.evaluate("fakePeer.become('disconnected')")
    expect(ready.get_by_role("status")).to_contain_text("Trying to get it back")
    ready.evaluate("fakePeer.become('connected')")
    expect(ready.get_by_role("status")).to_have_text("Listening. Go ahead.")
    ready.clock.run_for(60_000)
    ready.evaluate("fakePeer.become('disconnected'); fakePeer.become('failed')")
    expect(ready.get_by_role("status")).to_contain_text("Trying to get it back")
    ready.clock.run_for(30_000)
    expect(ready.get_by_role("status")).to_contain_text("Trying to get it back")
    ready.clock.run_for(16_000)
    alert(ready).to_contain_text("The connection was lost")
    assert ready.evaluate("antiphon.problem.kind") == "dropped"


def test_a_call_that_the_server_ends_is_shown_as_ended(ready: Page) -> None:
    connect(ready)
    ready.evaluate("fakePeer.channel.dispatchEvent(new Event('close'))")
    alert(ready).to_have_text("The server ended the call.")


def test_blocked_udp_is_explained(ready: Page) -> None:
    ready.get_by_role("button", name="Start call").click()
    holds(ready, "window.fakePeer?.answer")
    ready.evaluate("fakePeer.become('failed')")
    alert(ready).to_contain_text("A firewall may block UDP")


def test_the_page_says_when_no_agent_is_there_and_notices_when_one_comes(open_page: Open) -> None:
    page = open_page()
    answers = iter([[], ["concierge"]])

    def agents(route: Route) -> None:
        route.fulfill(json={"agents": next(answers), "default": "concierge"})

    page.route("**/v1/agents", agents)
    page.clock.install()
    page.reload()
    alert(page).to_contain_text("No agent is there yet")
    page.clock.run_for(LOOKS_AGAIN_MS)
    alert(page).to_have_text("")


def test_an_agent_in_the_address_is_chosen_when_it_comes_but_not_over_a_choice_by_hand(open_page: Open) -> None:
    page = open_page()
    there = ["concierge"]
    page.route("**/v1/agents", lambda route: route.fulfill(json={"agents": there, "default": "concierge"}))
    page.clock.install()
    page.goto(page.url.split("?")[0] + "?agent=echo")
    chosen = page.get_by_label("Agent")
    expect(chosen).to_have_value("concierge")
    there.append("echo")
    page.clock.run_for(LOOKS_AGAIN_MS)
    expect(chosen).to_have_value("echo")
    page.goto(page.url.split("?")[0] + "?agent=late")
    expect(chosen).to_have_value("concierge")
    chosen.select_option("echo")
    there.append("late")
    with page.expect_response("**/v1/agents"):
        page.clock.run_for(LOOKS_AGAIN_MS)
    expect(chosen).to_have_value("echo")


def tell(page: Page, **status: object) -> None:
    """What the server says of every call from now on."""
    told = {"object": "realtime.call", "connected": False, **status}
    page.route("**/v1/realtime/calls/rtc_*", lambda route: route.fulfill(json=told))


def test_an_agent_that_ended_the_call_before_it_was_connected_is_named_and_no_firewall(ready: Page) -> None:
    message = "the agent ended the call at once, without a word"
    tell(ready, status="ended", reason="hang_up", fault=True, message=message)
    ready.get_by_role("button", name="Start call").click()
    alert(ready).to_have_text("The agent ended the call at once, without a word.")
    assert ready.evaluate("antiphon.problem.kind") == "agent_ended"


def test_an_agent_that_ended_the_call_before_there_was_an_answer_is_named(open_page: Open, parts: StandIns) -> None:
    ready = open_page(quiet=False)
    transceiver = parts.running[0]
    reply, transceiver.reply = (
        transceiver.reply,
        Refused(code="agent_ended", message="agent 'a' ended the call at once"),
    )
    try:
        with ready.expect_response(lambda response: response.status == 502):
            ready.get_by_role("button", name="Start call").click()
        alert(ready).to_have_text("Agent 'a' ended the call at once.")
    finally:
        transceiver.reply = reply


def test_a_goodbye_of_the_agent_is_no_fault(ready: Page) -> None:
    connect(ready)
    tell(ready, status="ended", reason="hang_up", fault=False, message="the agent ended the call")
    ready.evaluate("fakePeer.channel.dispatchEvent(new Event('close'))")
    expect(ready.get_by_role("status")).to_have_text("The agent ended the call.")
    alert(ready).to_have_text("")
    assert ready.evaluate("antiphon.problem") is None
