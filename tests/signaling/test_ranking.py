"""Which cluster and which relays are near a client: the order as a function of announcements."""

from __future__ import annotations

import hashlib
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.schemas.messages import RelayAnnouncement
from antiphon.signaling.placement.geography import (
    Coordinates,
    coordinates_in,
    distance_km,
    modelled_round_trip_ms,
)
from antiphon.signaling.placement.ranking import (
    FIRST_HOP_WEIGHT,
    STEP_MS,
    ClientPlace,
    Ingress,
    Site,
    apart_ms,
    by_nearness,
    cluster_costs,
    second_hop_ms,
    second_hops,
    step_above,
)

pytestmark = pytest.mark.pure

FRANKFURT, VIRGINIA, SYDNEY = Coordinates(50.11, 8.68), Coordinates(38.9, -77.4), Coordinates(-33.87, 151.21)
LONDON, SINGAPORE = Coordinates(51.5, -0.12), Coordinates(1.35, 103.8)
EU, US, AU = Site("eu", FRANKFURT), Site("us", VIRGINIA), Site("au", SYDNEY)
CLUSTERS = {1: EU, 2: US}

_points = st.builds(Coordinates, st.floats(-90, 90), st.floats(-180, 180))
_sites = st.builds(Site, st.sampled_from(["", "a", "b", "c"]), st.none() | _points)
_clients = st.builds(ClientPlace, st.just("header"), _sites)


def ingress(
    name: str, site: Site, cluster: int | None = None, number: int = 1, round_trips: dict[str, float] | None = None
) -> Ingress:
    said = RelayAnnouncement(
        name=name,
        region=site.region or "local",
        public_addresses=["192.0.2.1:1"],
        tunnel_addresses=["10.0.0.9:1"],
        cluster=cluster,
        ingress=number,
        round_trips=round_trips or {},
    )
    return Ingress(said, site)


_trips = st.dictionaries(st.sampled_from(["1", "2", "3", "x", "01"]), st.floats(allow_nan=True), max_size=4)
_ingresses = st.lists(
    st.builds(
        ingress, st.uuids().map(str), _sites, st.none() | st.integers(0, 3), st.integers(0, 2), _trips
    ),
    max_size=6,
)  # fmt: skip
_clusters = st.dictionaries(st.integers(0, 4), _sites, max_size=4)


def at(where: Coordinates) -> ClientPlace:
    return ClientPlace("header", Site(coordinates=where))


def spread(name: str) -> bytes:
    return hashlib.blake2b(name.encode()).digest()


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [(FRANKFURT, LONDON, 639), (FRANKFURT, VIRGINIA, 6547), (LONDON, SYDNEY, 16994), (SINGAPORE, SINGAPORE, 0)],
)
def test_distances_are_those_of_the_great_circle(one: Coordinates, other: Coordinates, km: int) -> None:
    assert distance_km(one, other) == pytest.approx(km, rel=0.005)
    assert modelled_round_trip_ms(one, other) == pytest.approx(2 * km / 204 * 1.79, rel=0.005)


@given(_points, _points, _points)
def test_a_distance_is_a_metric_and_half_around_the_earth_at_most(
    a: Coordinates, b: Coordinates, c: Coordinates
) -> None:
    assert 0 <= distance_km(a, b) <= 20016
    assert distance_km(a, b) == pytest.approx(distance_km(b, a), abs=1e-6)
    assert distance_km(a, c) <= distance_km(a, b) + distance_km(b, c) + 1e-3


def test_across_the_date_line_is_near() -> None:
    assert distance_km(Coordinates(-17, 179.9), Coordinates(-17, -179.9)) < 22


@pytest.mark.parametrize(
    "text", ["", "50.11", "50.11,8.68,1", "91,0", "0,181", "nan,0", "1e1,0", "999.9,999.9", "٥,٥", "1,"]
)
def test_what_is_no_point_on_earth_is_none(text: str) -> None:
    assert coordinates_in(text) is None


@given(st.text(max_size=40))
def test_any_text_is_a_point_on_earth_or_none(text: str) -> None:
    found = coordinates_in(text)
    assert found is None or (-90 <= found.latitude <= 90 and -180 <= found.longitude <= 180)


def test_the_nearest_cluster_is_the_one_with_the_shortest_measured_way() -> None:
    relays = [
        ingress("eu", EU, 1, 1, {"2": 90.0}),
        ingress("us", US, 2, 2, {"1": 90.0}),
        ingress("au", AU, 3, 3, {"1": 280.0, "2": 200.0}),  # no transceivers of cluster 3 are announced
    ]
    costs = cluster_costs(at(SYDNEY), second_hops(relays, CLUSTERS))
    assert costs == {1: pytest.approx(280, abs=1), 2: pytest.approx(200, abs=1)}
    assert step_above(costs[1], costs[2]) == 16
    near_london = cluster_costs(at(LONDON), second_hops(relays, CLUSTERS))
    assert near_london[1] < 15 < near_london[2]


def test_a_relay_reaches_its_own_cluster_and_those_that_it_has_measured() -> None:
    relay = ingress("a", AU, 3, 3, {"1": 280.0})
    assert second_hop_ms(relay, 3, AU) == 0
    assert second_hop_ms(relay, 1, EU) == 280
    assert second_hop_ms(relay, 2, US) is None
    assert second_hop_ms(ingress("a", AU, 3, 0, {"1": 280.0}), 1, EU) is None  # it sends nothing to other clusters
    for nonsense in (math.nan, math.inf, -1.0):
        assert second_hop_ms(ingress("a", AU, 3, 3, {"1": nonsense}), 1, EU) is None


def test_a_relay_of_no_cluster_reaches_all_and_the_model_tells_them_apart() -> None:
    everywhere = ingress("a", EU)
    assert second_hop_ms(everywhere, 1, EU) == 0
    assert second_hop_ms(everywhere, 2, US) == modelled_round_trip_ms(FRANKFURT, VIRGINIA)
    assert second_hop_ms(everywhere, 2, Site()) == 0


def test_costs_that_differ_by_less_than_a_step_are_equally_near() -> None:
    costs = (20.0, 20.0 + STEP_MS * 0.9, 20.0 + STEP_MS * 1.1, math.inf)
    assert [step_above(cost, 20.0) for cost in costs] == [0, 0, 1, math.inf]
    assert step_above(math.inf, math.inf) == 0


def names(client: ClientPlace, relays: list[Ingress], cluster: int = 1) -> list[str]:
    found = by_nearness(client, relays, (cluster, CLUSTERS[cluster]), spread)
    return [each.relay.name for each in found]


def test_the_nearest_relay_that_reaches_the_cluster_comes_first() -> None:
    relays = [
        ingress("eu", EU, 1, 1, {"2": 90.0}),
        ingress("us", US, 2, 2, {"1": 90.0}),
        ingress("au", AU, 3, 3, {"1": 280.0}),
    ]
    assert names(at(SYDNEY), relays) == ["au", "eu", "us"]
    assert names(at(LONDON), relays) == ["eu", "us", "au"]
    assert names(at(SYDNEY), relays, cluster=2) == ["us", "eu"]  # "au" has not measured that one


def test_the_first_hop_counts_double_so_a_near_relay_with_a_long_way_from_there_comes_later() -> None:
    direct = FIRST_HOP_WEIGHT * modelled_round_trip_ms(SYDNEY, FRANKFURT)
    relays = [ingress("eu", EU, 1), ingress("au", AU, 3, 3, {"1": direct + STEP_MS})]
    assert names(at(SYDNEY), relays) == ["eu", "au"]
    relays[1] = ingress("au", AU, 3, 3, {"1": direct - STEP_MS})
    assert names(at(SYDNEY), relays) == ["au", "eu"]


def test_a_region_that_a_client_names_is_nearest_also_without_coordinates() -> None:
    relays = [ingress("eu", Site("eu"), 1), ingress("au", Site("au"), 3, 3, {"1": 280.0})]
    assert names(ClientPlace("hint", Site("au")), relays) == ["au", "eu"]
    assert names(ClientPlace("hint", Site("eu")), relays) == ["eu", "au"]


@given(_clients, _ingresses, _clusters)
def test_whatever_is_announced_costs_are_numbers_of_clusters_that_a_relay_reaches(
    client: ClientPlace, relays: list[Ingress], clusters: dict[int, Site]
) -> None:
    costs = cluster_costs(client, second_hops(relays, clusters))
    reachable = {
        number
        for number, site in clusters.items()
        if any(second_hop_ms(each, number, site) is not None for each in relays)
    }
    assert set(costs) == reachable
    assert all(cost >= 0 for cost in costs.values())  # NaN is not
    steps = {cluster: step_above(cost, min(costs.values())) for cluster, cost in costs.items()}
    assert not costs or min(steps.values()) == 0
    assert sorted(costs, key=lambda each: costs[each]) == sorted(costs, key=lambda each: (steps[each], costs[each]))


@given(_clients, _ingresses, st.integers(0, 3), _sites)
def test_whatever_is_announced_all_relays_that_reach_a_cluster_are_ranked_once(
    client: ClientPlace, relays: list[Ingress], cluster: int, site: Site
) -> None:
    found = by_nearness(client, relays, (cluster, site), spread)
    assert sorted(each.relay.name for each in found) == sorted(
        each.relay.name for each in relays if second_hop_ms(each, cluster, site) is not None
    )
    assert found == by_nearness(client, relays[::-1], (cluster, site), spread)
    costs = [
        FIRST_HOP_WEIGHT * apart_ms(client.site, each.site) + (second_hop_ms(each, cluster, site) or 0.0)
        for each in found
    ]
    assert all(later >= earlier - STEP_MS for earlier, later in itertools.pairwise(costs) if math.isfinite(earlier))
    assert sorted(costs, key=math.isinf) == costs
