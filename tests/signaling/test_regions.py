"""Calls in three regions, of which two have a cluster: signaling as a process, all others as stand-ins on a bus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import httpx
import pytest
from support.processes.nats import nats_server
from support.processes.signaling import ANSWER, OFFER, SignalingProcess, StandIn, StandIns, signaling_process, until

from antiphon.schemas.messages import Opened, Place, Refused, RelayAnnouncement, TransceiverAnnouncement
from antiphon.signaling.placement.region_urls import read_region_urls

URLS: Final = "eu=https://voice-eu.example.net/"
UPGRADE: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}

pytestmark = pytest.mark.process

CALLS: Final = "/v1/realtime/calls"
SDP: Final = {"Content-Type": "application/sdp"}
EU, US, AU = "192.0.2.1", "192.0.2.2", "192.0.2.3"
"""Addresses of the three relays."""
PLACES: Final = {
    "eu": Place(latitude=50.11, longitude=8.68),
    "us": Place(latitude=38.9, longitude=-77.4),
    "au": Place(latitude=-33.87, longitude=151.21),
}
FULL: Final = Refused(code="full", message="full")


class World:
    """Signaling of region `us`, and the transceivers that it may ask."""

    def __init__(self, url: str, stand_ins: StandIns, service: SignalingProcess) -> None:
        self.http = httpx.Client(base_url=service.url, timeout=15)
        self.service = service
        self.stand_ins = stand_ins
        self.eu = stand_ins.transceiver(1, cluster=1, region="eu", place=PLACES["eu"], capacity=1000)
        self.us = stand_ins.transceiver(1, cluster=2, region="us", place=PLACES["us"], capacity=1000)
        self.relays: dict[str, StandIn] = {}
        for number, (name, address) in enumerate({"eu": EU, "us": US, "au": AU}.items(), 1):
            self.relays[name] = stand_ins.relay(
                name,
                f"{address}:1",
                region=name,
                place=PLACES[name],
                cluster=number,
                ingress=number,
                round_trips={"1": 110.0, "2": 210.0} if name == "au" else {"1": 90.0, "2": 90.0},
            )

    def call(self, query: str = "", **headers: str) -> httpx.Response:
        return self.http.post(f"{CALLS}{query}", content=OFFER, headers={**SDP, **headers})

    def placed(self, query: str = "") -> tuple[str, str]:
        """Region and source, as the answer names them."""
        answer = self.call(query)
        assert answer.status_code == 201, answer.text
        return answer.headers["antiphon-region"], answer.headers["antiphon-place-source"]


@pytest.fixture(scope="module")
def of_this_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with nats_server(tmp_path_factory.mktemp("nats")) as url:
        stand_ins = StandIns(url)
        try:
            with signaling_process(
                url, ANTIPHON_REGION="us", ANTIPHON_CLUSTER="2", ANTIPHON_REGION_URLS=URLS
            ) as service:
                found = World(url, stand_ins, service)
                yield found
                found.http.close()
        finally:
            stand_ins.close()


@pytest.fixture
def world(of_this_module: World) -> Iterator[World]:
    """All as at the beginning, and signaling knows all of it."""
    world = of_this_module
    replies = [(part, part.reply) for part in (world.eu, world.us)]

    def complete() -> bool:
        rows = world.http.get("/v1/regions").json()["data"]
        return [(len(each["clusters"]), each["ingress"]) for each in rows] == [(0, True), (1, True), (1, True)]

    until(complete, "all regions are announced")
    for part in (world.eu, world.us):
        part.opened.clear()
        part.hung_up.clear()
    yield world
    for part, reply in replies:
        part.reply = reply


def candidates(answer: httpx.Response) -> list[tuple[str, int]]:
    """(address, priority) of each."""
    found = re.findall(r"a=candidate:\d+ 1 udp (\d+) (\S+) ", answer.text)
    return [(address, int(priority)) for priority, address in found]


def announce(part: StandIn, **said: Any) -> None:
    """Change what it announces."""
    assert isinstance(part.announcement, TransceiverAnnouncement | RelayAnnouncement)
    part.announcement = part.announcement.model_copy(update=said)


def test_a_call_goes_to_the_nearest_cluster_by_the_nearest_relay_and_has_another_place_to_fall_back_to(
    world: World,
) -> None:
    near_eu = world.call("?place=48.2,16.4")
    assert near_eu.headers["antiphon-region"] == near_eu.headers["antiphon-ingress"] == "eu"
    assert candidates(near_eu) == [(EU, 2130706000), (US, 2130705744)]
    far = world.call("?region=au")
    assert (far.headers["antiphon-region"], far.headers["antiphon-ingress"]) == ("eu", "au")
    assert [address for address, _ in candidates(far)] == [AU, EU]
    assert (near_eu.headers["antiphon-second-ingress"], far.headers["antiphon-second-ingress"]) == ("us", "eu")
    assert len(world.eu.opened) == 2
    assert not world.us.opened


def test_the_next_cluster_takes_the_call_in_the_same_request_where_the_nearest_does_not(world: World) -> None:
    for reply in (FULL, Refused(code="draining", message="bye"), Refused(code="no_agent", message="none"), b"\0"):
        world.eu.reply = reply
        assert world.placed("?region=eu") == ("us", "hint")
        assert world.eu.opened
        world.eu.opened.clear()
        until(lambda: world.http.get("/v1/regions").json()["data"][1]["clusters"], "it is announced again")
    world.us.reply = FULL
    assert world.call("?region=eu").json()["error"]["code"] == "overloaded"


def test_a_silent_cluster_costs_one_wait_though_it_has_more_transceivers(world: World) -> None:
    others = [
        world.stand_ins.transceiver(slot, cluster=1, region="eu", place=PLACES["eu"], sessions=5, reply=FULL)
        for slot in (2, 3)
    ]
    world.eu.reply = FULL
    try:
        until(lambda: world.placed("?region=eu") and all(part.opened for part in others), "all of them are asked")
        for part in (world.eu, *others):
            part.reply = None
            part.opened.clear()
        assert world.placed("?region=eu") == ("us", "hint")
        assert [len(part.opened) for part in (world.eu, *others)] == [1, 0, 0]
    finally:
        for part in others:
            world.stand_ins.stop(part)


def test_an_agent_that_no_region_has_is_404(world: World) -> None:
    world.eu.reply = world.us.reply = Refused(code="no_agent", message="nobody claimed it")

    def nowhere() -> bool:
        return world.call("?agent=nobody").json()["error"]["code"] == "no_agent" and bool(world.eu.opened)

    until(nowhere, "all that stand-ins of other tests announced has expired")  # else one that is gone may have it
    assert world.us.opened


def test_an_unknown_region_is_400_and_the_known_ones_are_named(world: World) -> None:
    answer = world.call("?region=atlantis")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_region")
    assert "au, eu, us" in answer.json()["error"]["message"]
    assert world.call(**{"Antiphon-Region": "atlantis"}).status_code == 400
    assert not world.us.opened


def test_relays_of_equal_priority_are_offered_where_they_shall_race(world: World) -> None:
    for answer in (world.call(), world.call("?region=eu&race=true"), world.call(**{"Antiphon-Race": "1"})):
        assert [priority for _, priority in candidates(answer)] == [2130706000] * 2
    assert [priority for _, priority in candidates(world.call("?region=eu"))] == [2130706000, 2130705744]
    assert world.call("?race=maybe").json()["error"]["param"] == "race"


def test_a_client_of_unknown_place_is_served_where_it_was_sent_to(world: World) -> None:
    assert world.placed() == ("us", "unknown")
    world.us.reply = FULL
    assert world.placed() == ("eu", "unknown")


def test_the_relays_after_an_ice_restart_reach_the_calls_cluster(world: World) -> None:
    location = world.call("?region=eu").headers["location"]
    relay = next(
        part for part in world.stand_ins.running if part.announcement and getattr(part.announcement, "name", "") == "us"
    )
    announce(relay, round_trips={})
    try:

        def offered() -> list[str]:
            answer = world.http.post(f"{location}?region=us", content=OFFER, headers=SDP)
            assert answer.status_code == 200, answer.text
            return [address for address, _ in candidates(answer)]

        until(lambda: US not in offered(), "a relay that does not reach the cluster is not offered")
    finally:
        announce(relay, round_trips={"1": 90.0})
    until(lambda: offered()[0] == US, "the nearest relay of the client that has moved is offered")


def test_a_call_of_another_region_is_hung_up_and_its_side_channel_is_there(world: World) -> None:
    location = world.call("?region=eu").headers["location"]
    session_id = location.rsplit("/")[-1]
    for path in (f"/v1/realtime?call_id={session_id}", f"/v1/live/sessions/{session_id}/attach?a=%0A"):
        # Without a client of WebSockets, which would go there.
        answer = world.http.get(path, headers=UPGRADE)
        assert answer.status_code == 307
        assert answer.headers["Antiphon-Region"] == "eu"
        assert answer.headers["Location"] == f"wss://voice-eu.example.net{path}"
    assert world.http.post(f"{location}/hangup").status_code == 200
    assert world.eu.hung_up == [session_id]


@pytest.mark.parametrize(
    "text", ["eu", "=https://a.example", "eu=ftp://a.example", "eu=https://", "eu=https://a,eu=https://b", "eu=//a"]
)
def test_a_region_without_an_address_of_its_signaling_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="ANTIPHON_REGION_URLS"):
        read_region_urls(text)


def test_the_wish_for_a_copy_reaches_the_transceiver(world: World) -> None:
    for query, wish in (("", None), ("?copy=true", True), ("?copy=false", False)):
        assert world.call(query).status_code == 201
        assert world.us.opened[-1].copies is wish
    assert world.call("?copy=some").status_code == 400


def test_no_log_line_says_where_a_client_is(world: World) -> None:
    world.call("?place=48.2082,16.3738")
    assert any("in region eu" in line and "place by hint" in line for line in world.service.lines)
    assert not any("48.2" in line or ("127.0.0.1:" in line and "placed" in line) for line in world.service.lines)


def test_a_burst_is_spread_over_clusters_that_are_equally_near(world: World) -> None:
    twin = world.stand_ins.transceiver(1, cluster=3, region="eu", place=PLACES["eu"], capacity=1000)
    twin.reply = Opened(session_id="rtc_" + "3" * 24, answer=ANSWER)
    relay = world.stand_ins.relay("eu2", f"{EU}:2", region="eu", place=PLACES["eu"], cluster=3, ingress=4)
    try:
        until(lambda: world.placed("?region=eu") and twin.opened, "the twin is asked")
        before = len(world.eu.opened), len(twin.opened)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda _: world.placed("?region=eu"), range(20)))
        taken = len(world.eu.opened) - before[0], len(twin.opened) - before[1]
        assert sum(taken) == 20
        assert min(taken) >= 5
        assert not world.us.opened
    finally:
        world.stand_ins.stop(twin)
        world.stand_ins.stop(relay)
