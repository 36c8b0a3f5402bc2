"""One run of the planning model: which sites, and what they mean for people. Pure but for the data it loads."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.cli.errors import UsageError
from antiphon.cli.world import people as people_module
from antiphon.cli.world import regions as regions_module
from antiphon.cli.world.capacity import Site
from antiphon.cli.world.earth import Floats, distances_km
from antiphon.cli.world.latency import LatencyModel
from antiphon.cli.world.lost_site import lost_sites
from antiphon.cli.world.people import People, load_people
from antiphon.cli.world.regions import Region, load_regions, places
from antiphon.cli.world.second_hop import second_hop
from antiphon.cli.world.shares import distribution
from antiphon.cli.world.site_choice import choose
from antiphon.cli.world.steering import steering


@dataclass(frozen=True)
class Plan:
    """People, sites and the round trips between them. Made once per run; nothing changes it."""

    people: People
    sites: list[Region]
    round_trips: Floats
    """ms, cities x sites."""
    clusters: list[int]
    """Numbers of the sites that have a cluster."""
    model: LatencyModel
    objective: str


def plan(sites: int, clusters: int, model: LatencyModel, objective: str) -> Plan:
    """Load the data and choose; UsageError for numbers that do not fit it."""
    regions = load_regions()
    if not 1 <= sites <= len(regions):
        raise UsageError(
            f"--sites {sites}: takes 1 to {len(regions)}, the places of public cloud regions that are known"
        )
    if not 1 <= clusters <= sites:
        raise UsageError(f"--clusters {clusters}: takes 1 to {sites}, the number of sites")
    people = load_people()
    all_trips = model.from_caller(distances_km(people.places, places(regions)))
    chosen = choose(all_trips, people.share, sites, objective)
    trips = all_trips[:, chosen]
    return Plan(
        people,
        [regions[column] for column in chosen],
        trips,
        choose(trips, people.share, clusters, objective),
        model,
        objective,
    )


def report(planned: Plan) -> dict[str, object]:
    """What `--json` prints, but for the capacity."""
    weight, trips = planned.people.share, planned.round_trips
    where = places(planned.sites)
    nearest = trips.argmin(axis=1)
    return {
        "sites": len(planned.sites),
        "first_hop": distribution(trips.min(axis=1), weight),
        "chosen": [
            {
                "place": site.place,
                "country": site.country,
                "latitude": site.latitude,
                "longitude": site.longitude,
                "regions": list(site.names),
                "share_of_people": round(float(weight[nearest == column].sum()), 4),
                "cluster": column in planned.clusters,
            }
            for column, site in enumerate(planned.sites)
        ],
        "second_hop": second_hop(trips, distances_km(where, where), weight, planned.clusters, planned.model),
        "steering": steering(planned.people, where, planned.model),
        "lost_site": lost_sites(trips, weight, [site.place for site in planned.sites]),
        "model": {
            "cities": len(planned.people.countries),
            "people": int(planned.people.population.sum()),
            "inflation": planned.model.inflation,
            "last_mile_ms": planned.model.last_mile_ms,
            "objective": planned.objective,
            "round_trip": "2 x distance / 204 km per ms x inflation + last mile",
        },
        "sources": [people_module.SOURCE, regions_module.SOURCE],
    }


def load_of_sites(planned: Plan) -> list[Site]:
    """Each site's part of all calls: people call alike, and a call is owned by the cluster nearest to its caller."""
    weight, trips = planned.people.share, planned.round_trips
    ingress = trips.argmin(axis=1)
    owner = trips[:, planned.clusters].argmin(axis=1)
    found = []
    for column, site in enumerate(planned.sites):
        owned = weight[owner == planned.clusters.index(column)].sum() if column in planned.clusters else 0.0
        here = ingress == column
        away = weight[here].sum() if column not in planned.clusters else 0.0
        found.append(Site(site.place, float(weight[here].sum()), float(owned), float(away)))
    return found
