"""A call from the page: placed, answered, ended, with the agent that was chosen and the key that is needed."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Page, Route, expect
from support.browsers.page import Open, connect, state
from support.processes.signaling import SignalingProcess, StandIns, signaling_process, until

pytestmark = pytest.mark.process


def test_a_call_is_made_without_ice_servers_and_with_its_channel_in_the_offer(ready: Page) -> None:
    connect(ready)
    assert ready.evaluate("fakePeer.did") == ["channel oai-events", "audio sendrecv", "offer"]
    assert "iceServers" not in ready.evaluate("fakePeer.configuration")
    assert "203.0.113.10 3478" in ready.evaluate("fakePeer.answer")
    assert state(ready) == "listening"
    expect(ready.locator("#setup")).to_contain_text("ms")


def test_the_chosen_agent_is_called_and_hung_up(open_page: Open, parts: StandIns) -> None:
    transceiver = parts.running[0]
    page = open_page()
    page.get_by_label("Agent").select_option("echo")
    connect(page)
    assert transceiver.opened[-1].agent == "echo"
    before = len(transceiver.hung_up)
    page.get_by_role("button", name="End call").click()
    expect(page.get_by_role("status")).to_have_text("The call has ended.")
    until(lambda: len(transceiver.hung_up) > before, "the call is hung up")
    expect(page.get_by_role("button", name="Call again")).to_be_visible()
    assert page.evaluate("antiphon.problem") is None


def test_a_call_given_up_while_it_is_placed_is_hung_up_all_the_same(open_page: Open, parts: StandIns) -> None:
    page = open_page()
    before = len(parts.running[0].hung_up)
    page.evaluate(
        """() => {
          const real = window.fetch;
          window.fetch = async (...all) => {
            const response = await real(...all);
            if (all[0].split("?")[0] === "/v1/realtime/calls") document.getElementById("call").click();
            return response;
          };
        }"""
    )
    page.get_by_role("button", name="Start call").click()
    until(lambda: len(parts.running[0].hung_up) > before, "the call is hung up")
    expect(page.get_by_role("button", name="Call again")).to_be_visible()


def test_an_agent_named_in_the_address_is_preselected(open_page: Open, service: SignalingProcess) -> None:
    page = open_page(service.url + "/?agent=echo", quiet=False)
    expect(page.get_by_label("Agent")).to_have_value("echo")


def test_closing_the_page_hangs_up(ready: Page, parts: StandIns) -> None:
    connect(ready)
    before = len(parts.running[0].hung_up)
    ready.goto("about:blank")
    until(lambda: len(parts.running[0].hung_up) > before, "the call is hung up")


def test_a_key_is_asked_for_and_kept_in_the_tab_only(open_page: Open, bus_url: str, parts: StandIns) -> None:
    with signaling_process(bus_url, ANTIPHON_API_KEYS="sk-0123456789abcdef") as locked:
        until(lambda: httpx.get(locked.url + "/healthz").status_code == 200, "the stack is healthy")
        page = open_page(locked.url, quiet=False)
        for given, why in (("wrong", "A key is needed"), ("sk-0123456789abcdef", "not accepted")):
            expect(page.get_by_role("dialog")).to_contain_text(why)
            page.get_by_label("API key").fill(given)
            page.keyboard.press("Enter")
        expect(page.get_by_label("Agent")).to_have_value("concierge")
        connect(page)
        assert page.evaluate("Object.keys(localStorage).length + document.cookie.length") == 0
        transceiver = parts.running[0]
        before = len(transceiver.hung_up)
        page.close()
        until(lambda: len(transceiver.hung_up) > before, "the key goes along with the last hang-up")


def test_the_way_of_a_call_is_shown_and_why_another_one_is_tried(ready: Page) -> None:
    def far(route: Route) -> None:
        """As a server with regions answers, and with a second relay."""
        answer = route.fetch()
        first = next(line for line in answer.text().splitlines() if line.startswith("a=candidate:"))
        second = first.replace(":11 ", ":21 ").replace("2130706000 203.0.113.10", "2130705744 203.0.113.20")
        regions = {"Region": "eu-central", "Ingress": "S%C3%A3o Paulo", "Second-Ingress": "us-east"}
        headers = {**answer.headers, **{f"Antiphon-{name}": region for name, region in regions.items()}}
        route.fulfill(response=answer, headers=headers, body=answer.text().replace(first, f"{first}\r\n{second}"))

    ready.route("**/v1/realtime/calls?*", far)
    ready.clock.install()
    connect(ready)
    ready.evaluate(
        """() => {
          let received = 0;
          fakePeer.getStats = async () => new Map([
            ["t", { type: "transport", bytesReceived: (received += 500), selectedCandidatePairId: "p" }],
            ["p", { type: "candidate-pair", nominated: true, remoteCandidateId: "c", currentRoundTripTime: 0.45 }],
            ["c", { type: "remote-candidate", address: "203.0.113.10", port: 3478, protocol: "udp" }],
          ]);
        }"""
    )
    shown = ready.locator("#path")
    ready.clock.run_for(500)
    expect(shown).to_have_text("The call enters at São Paulo (203.0.113.10:3478) and is in eu-central.")
    ready.clock.run_for(7000)
    expect(shown).to_contain_text("Trying us-east (203.0.113.20:3478), because the round trip takes 450 ms.")
    ready.clock.run_for(7000)
    expect(shown).to_contain_text("Another way in was not to be reached.")
    assert ready.evaluate("antiphon.path.last") == "not_reached"


def test_wishes_in_the_address_go_with_the_call(
    open_page: Open, service: SignalingProcess, parts: StandIns, request: pytest.FixtureRequest
) -> None:
    relay = parts.relay("ap", region="ap-south")
    request.addfinalizer(lambda: parts.stop(relay))
    until(lambda: "ap-south" in httpx.get(service.url + "/v1/regions").text, "the region is announced")
    page = open_page(service.url + "/?agent=echo&region=ap-south&race=1")
    expect(page.get_by_label("Agent")).to_have_value("echo")
    with page.expect_request("**/v1/realtime/calls?*") as placed:
        connect(page)
    assert placed.value.url.endswith("/v1/realtime/calls?agent=echo&region=ap-south&race=1")
