"""Which regions there are, where they are, and which cluster and relays stand in each: read from announcements.

A region that is gone stays known for a day: its name in a request still says where the client is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from antiphon.schemas.messages import Place, RelayAnnouncement, TransceiverAnnouncement
from antiphon.signaling.placement.geography import Coordinates
from antiphon.signaling.placement.ranking import Site

REMEMBERED_SECONDS: Final = 86400.0
MAX_REGIONS: Final = 1024
"""Regions that are remembered. Above it those that were not announced for longest are forgotten first."""


class RegionMap:
    """The regions at one moment. Made by `KnownRegions`, never changed afterwards."""

    def __init__(self, places: Mapping[str, Coordinates | None], clusters: Mapping[int, Site]) -> None:
        """`places`: every known region; None: it announces no place."""
        self._places = places
        self._clusters = clusters

    @property
    def names(self) -> list[str]:
        """The regions' names, sorted."""
        return sorted(self._places)

    def clusters_outside(self, region: str) -> list[int]:
        """The clusters that stand in a named region other than this one."""
        return [cluster for cluster, site in self._clusters.items() if site.region not in ("", region)]

    def site(self, region: str) -> Site:
        """Where a region is."""
        return Site(region, self._places.get(region))

    def cluster_site(self, cluster: int) -> Site:
        """Where a cluster is; nowhere, if it announces nothing of that."""
        return self._clusters.get(cluster, Site())

    def relay_site(self, relay: RelayAnnouncement) -> Site:
        """Where a relay is: as it says, else where its region is."""
        return Site(relay.region, _coordinates(relay.place) or self._places.get(relay.region))


class KnownRegions:
    """The regions that were announced lately. Owned by a `Directory`, as long as that one."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Coordinates | None, float]] = {}

    def seen(
        self, transceivers: Sequence[TransceiverAnnouncement], relays: Sequence[RelayAnnouncement], now: float
    ) -> RegionMap:
        """The map with these announcements, which are the living ones."""
        places: dict[str, Coordinates | None] = {}
        stated = [(each.region, each.place) for each in transceivers] + [(each.region, each.place) for each in relays]
        for region, place in stated:  # the first that says where it is counts for all of its region
            if region and places.get(region) is None:
                places[region] = _coordinates(place)
        for region, coordinates in places.items():
            known, _ = self._seen.pop(region, (None, now))
            self._seen[region] = (coordinates or known, now)
        self._forget(now)
        known_places = {region: place for region, (place, _) in self._seen.items()}
        return RegionMap(known_places, self._clusters(transceivers, relays))

    def _forget(self, now: float) -> None:
        """Drop what was announced long ago, and above the limit what was announced first of all."""
        for region in list(self._seen):
            if len(self._seen) <= MAX_REGIONS and self._seen[region][1] > now - REMEMBERED_SECONDS:
                break
            del self._seen[region]

    def _clusters(
        self, transceivers: Iterable[TransceiverAnnouncement], relays: Iterable[RelayAnnouncement]
    ) -> dict[int, Site]:
        regions: dict[int, str] = {}
        places: dict[int, Coordinates] = {}
        for each in transceivers:
            if each.capacity > 0:  # not an endpoint that another cluster's process goes on with
                regions.setdefault(each.cluster, "")
                regions[each.cluster] = regions[each.cluster] or each.region
                if each.cluster not in places and (coordinates := _coordinates(each.place)):
                    places[each.cluster] = coordinates
        for relay in relays:  # of transceivers that do not say where they are
            if relay.cluster is not None and regions.get(relay.cluster) == "":
                regions[relay.cluster] = relay.region
        return {
            cluster: Site(region, places.get(cluster) or self._seen.get(region, (None, 0.0))[0])
            for cluster, region in regions.items()
        }


def _coordinates(place: Place | None) -> Coordinates | None:
    return None if place is None else Coordinates(place.latitude, place.longitude)
