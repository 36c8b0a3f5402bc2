"""Which variables the parts of `antiphon up` get."""

from __future__ import annotations

import pytest

from antiphon.cli.up.part_environment import SERVICES, environment_of

pytestmark = pytest.mark.pure


def test_the_region_of_the_stack_is_that_of_its_relay_unless_it_has_one_of_its_own() -> None:
    ours = {"ANTIPHON_REGION": "eu", "ANTIPHON_PLACE": "50.11,8.68"}
    relay = environment_of("relay", ours)
    assert (relay["ANTIPHON_RELAY_REGION"], relay["ANTIPHON_RELAY_PLACE"]) == ("eu", "50.11,8.68")
    assert environment_of("signaling", ours)["ANTIPHON_REGION"] == "eu"
    assert environment_of("transceiver", ours)["ANTIPHON_PLACE"] == "50.11,8.68"
    assert environment_of("relay", {**ours, "ANTIPHON_RELAY_REGION": "us"})["ANTIPHON_RELAY_REGION"] == "us"


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("ANTIPHON_BACKBONE_KEY", "relay"),
        ("ANTIPHON_CLUSTER_KEYS_FILE", "relay"),
        ("ANTIPHON_COPY_OF_FILE", "transceiver"),
    ],
)
def test_a_key_between_regions_goes_to_its_owner_alone(name: str, owner: str) -> None:
    assert [part for part in SERVICES if name in environment_of(part, {name: "x"})] == [owner]
