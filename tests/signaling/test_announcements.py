"""What signaling makes of announcements that its settings do not fit, or that are not their author's."""

from __future__ import annotations

import httpx
import pytest
from support.processes.signaling import SignalingProcess, StandIns, until

from antiphon.schemas import subjects
from antiphon.schemas.messages import RelayAnnouncement, encode

pytestmark = pytest.mark.process


def test_several_regions_and_none_of_ours_is_said_once(signaling: SignalingProcess, stand_ins: StandIns) -> None:
    stand_ins.relay("a", region="eu")
    stand_ins.relay("b", "203.0.113.11:3478", region="us")

    def lines() -> list[str]:
        return [line for line in signaling.lines if "ANTIPHON_REGION is not set" in line]

    until(lines, "it is said")
    stand_ins.relay("c", "203.0.113.12:3478", region="ap")
    until(lambda: "ap" in httpx.get(signaling.url + "/v1/regions").text, "the third is known")
    assert len(lines()) == 1
    assert "regions eu and us are announced" in lines()[0]


def test_an_announcement_in_another_ones_name_is_ignored(signaling: SignalingProcess, stand_ins: StandIns) -> None:
    """NATS, and the hub between regions, see to it that each speaks on its own subject only."""
    stand_ins.relay("own", region="eu")
    forged = RelayAnnouncement(
        name="own", public_addresses=["192.0.2.66:1"], tunnel_addresses=["192.0.2.66:2"], region="forged"
    )
    until(lambda: "eu" in httpx.get(signaling.url + "/v1/regions").text, "the relay is known")
    stand_ins.publish(subjects.relay_announce("thief"), encode(forged))
    until(lambda: [line for line in signaling.lines if "relay.thief.announce" in line], "it is said")
    assert "forged" not in httpx.get(signaling.url + "/v1/regions").text
