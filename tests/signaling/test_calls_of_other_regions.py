"""Requests about a call at the signaling of another region: two regions that real NATS servers join as leaf nodes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final

import httpx
import pytest
from support.processes import regions
from support.processes.nats_roles import MASTER
from support.processes.signaling import ANSWER, OFFER, SignalingProcess, StandIn, StandIns, signaling_process, until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from antiphon.runtime.nats.access import Access
from antiphon.runtime.nats.permissions import User
from antiphon.schemas.messages import Opened

pytestmark = pytest.mark.process

CALLS: Final = "/v1/realtime/calls"
SDP: Final = {"Content-Type": "application/sdp"}
CLUSTERS: Final = {"eu": 1, "us": 2}


class Region:
    """One region: signaling as a process, one cluster and one relay as stand-ins."""

    def __init__(self, name: str, server: regions.Server, stack: ExitStack, **environment: str) -> None:
        self.name, self.cluster = name, CLUSTERS[name]
        access = server.access(User("signaling"), name)
        master = Access(tls_ca=access.tls_ca)
        self.stand_ins = StandIns(server.url.replace("//", f"//{MASTER}:{MASTER}@"), master)
        stack.callback(self.stand_ins.close)
        (other,) = CLUSTERS.keys() - {name}
        self.stand_ins.relay(
            f"{name}-relay",
            f"192.0.2.{self.cluster}:1",
            region=name,
            cluster=self.cluster,
            ingress=self.cluster,
            round_trips={str(CLUSTERS[other]): 90.0},
        )
        self.transceiver = self.has_a_transceiver()
        given = {
            "ANTIPHON_NATS_CREDENTIALS": str(access.credentials),
            "ANTIPHON_NATS_TLS_CA": str(access.tls_ca),
            "ANTIPHON_CLUSTER": str(self.cluster),
            "ANTIPHON_REGION": name,
            **environment,
        }
        self.service: SignalingProcess = stack.enter_context(signaling_process(server.url, **given))
        self.http = stack.enter_context(httpx.Client(base_url=self.service.url, timeout=15))

    def has_a_transceiver(self, slot: int = 1, session_id: str = "") -> StandIn:
        return self.stand_ins.transceiver(
            slot, cluster=self.cluster, region=self.name, capacity=1000, session_id=session_id
        )

    def knows_all(self) -> bool:
        rows = self.http.get("/v1/regions").json()["data"]
        return [(row["name"], row["ingress"], len(row["clusters"])) for row in rows] == [
            ("eu", True, 1),
            ("us", True, 1),
        ]

    def side_channel(self, session_id: str) -> tuple[int, Any]:
        """Status of the answer and the region that it names."""
        try:
            url = f"{self.service.url.replace('http', 'ws')}/v1/realtime?call_id={session_id}"
            with connect(url, proxy=None):
                return 101, None
        except InvalidStatus as refused:
            answer = refused.response
            if answer.status_code == 421:
                assert json.loads(answer.body or b"")["error"]["code"] == "wrong_region"
            return answer.status_code, answer.headers.get("Antiphon-Region")


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Region, Region]]:
    with regions.world(tmp_path_factory.mktemp("world")) as world, ExitStack() as stack:
        eu, us = (Region(name, world.regions[name], stack) for name in CLUSTERS)
        for region in (eu, us):
            until(region.knows_all, f"signaling of {region.name} knows both regions", 30)
        yield eu, us


def restarted(region: Region, location: str) -> httpx.Response:
    return region.http.post(location, content=OFFER, headers=SDP)


@pytest.mark.nightly
def test_a_call_is_asked_after_restarted_and_ended_from_another_region(joined: tuple[Region, Region]) -> None:
    eu, us = joined
    location = eu.http.post(f"{CALLS}?region=eu", content=OFFER, headers=SDP).headers["location"]
    session_id = location.rsplit("/")[-1]
    answer = restarted(us, location)
    assert (answer.status_code, answer.headers["antiphon-region"]) == (200, "eu")
    assert us.http.get(location).json()["status"] == "running"
    assert us.side_channel(session_id) == (421, "eu")
    assert eu.side_channel(session_id) == (101, None)
    assert us.http.post(f"{location}/hangup").status_code == 200
    assert eu.transceiver.hung_up == [session_id]


@pytest.mark.nightly
def test_a_session_whose_answer_is_of_no_use_is_ended_in_its_region(joined: tuple[Region, Region]) -> None:
    eu, us = joined
    usual, us.transceiver.reply = us.transceiver.reply, Opened(session_id=f"rtc_{2001:024d}", answer="v=0", cluster=2)
    try:
        assert eu.http.post(f"{CALLS}?region=us", content=OFFER, headers=SDP).json()["error"]["code"] == "bad_answer"
        assert us.transceiver.hung_up == [f"rtc_{2001:024d}"]
    finally:
        us.transceiver.reply = usual


def test_a_call_that_is_nowhere_is_found_nowhere(joined: tuple[Region, Region]) -> None:
    eu, _ = joined
    session_id = "rtc_" + "x" * 24
    asked = (
        lambda: eu.http.get(f"{CALLS}/{session_id}").json()["status"] == "unknown",
        lambda: eu.http.post(f"{CALLS}/{session_id}/hangup").status_code == 404,
        lambda: restarted(eu, f"{CALLS}/{session_id}").status_code == 404,
        lambda: eu.side_channel(session_id) == (404, None),
    )
    with ThreadPoolExecutor() as pool:  # each waits a second for the other region
        assert list(pool.map(lambda ask: ask(), asked)) == [True] * len(asked)


@pytest.mark.parametrize("stands_still", [False, True], ids=["lost", "standing still"])
def test_a_call_that_another_cluster_adopted_is_found_from_both_regions(
    joined: tuple[Region, Region], stands_still: bool
) -> None:
    eu, us = joined
    session_id = "rtc_" + ("s" if stands_still else "l") * 24
    location = f"{CALLS}/{session_id}"
    before = eu.has_a_transceiver(2, session_id)
    assert us.side_channel(session_id) == (421, "eu")
    if stands_still:
        before.stands_still = True
    else:
        eu.stand_ins.stop(before)
    adopter = us.has_a_transceiver(2, session_id)
    adopter.reply = Opened(session_id=session_id, answer=ANSWER, cluster=us.cluster)
    try:
        with ThreadPoolExecutor() as pool:  # each waits a second for one that stands still
            answer = pool.submit(restarted, eu, location)
            status = pool.submit(eu.http.get, location)
            side_channel = pool.submit(eu.side_channel, session_id)
        assert (answer.result().status_code, answer.result().headers["antiphon-region"]) == (200, "us")
        assert status.result().json()["status"] == "running"
        assert side_channel.result() == (421, "us")
        assert us.side_channel(session_id) == (101, None)
        assert eu.http.post(f"{location}/hangup").status_code == 200
        assert adopter.hung_up == [session_id]
    finally:
        us.stand_ins.stop(adopter)
        if stands_still:
            eu.stand_ins.stop(before)
