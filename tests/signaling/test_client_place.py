"""Where a request's client is taken to be, and what GET /v1/regions says of it: the application without a network."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.place_tables import place_table

from antiphon.schemas.messages import Place, RelayAnnouncement, TransceiverAnnouncement
from antiphon.signaling.http.app import create_app
from antiphon.signaling.http.health import failing_parts
from antiphon.signaling.placement.backend import Backend
from antiphon.signaling.placement.place_headers import PRESETS, PlaceHeaders
from antiphon.signaling.placement.place_table import PlaceTable
from antiphon.signaling.placement.service_discovery import ServiceTable
from antiphon.signaling.settings import Settings, load

pytestmark = pytest.mark.pure

PLACES = {"eu": (50.11, 8.68), "us": (38.9, -77.4), "au": (-33.87, 151.21)}
CLUSTERS = {"eu": 1, "us": 2}
"""`au` has a relay only."""
PROXY, STRANGER = "10.0.0.1", "203.0.113.9"
SYDNEY = {"cf-iplatitude": "-33.9", "cf-iplongitude": "151.0"}
Announce = Callable[..., None]


def announce(backend: Backend, region: str, *, full: bool = False, ready: bool = True) -> None:
    """A region with its relay and, where it has one, its cluster."""
    place = Place(latitude=PLACES[region][0], longitude=PLACES[region][1])
    now, cluster = time.monotonic(), CLUSTERS.get(region)
    others = {"1": 100.0, "2": 200.0 if region == "au" else 100.0}
    relay = {
        "name": region,
        "region": region,
        "place": place,
        "cluster": 9 if cluster is None else cluster,
        "ingress": list(PLACES).index(region) + 1,
        "round_trips": others,
        "public_addresses": [f"192.0.2.{list(PLACES).index(region) + 1}:1"],
        "tunnel_addresses": ["10.0.0.9:1"],
        "state": "ready" if ready else "draining",
    }
    backend.directory.learn_relay(RelayAnnouncement.model_validate(relay), now)
    if cluster is not None:
        transceiver = TransceiverAnnouncement(
            cluster=cluster,
            slot=1,
            epoch=1,
            tunnel_address="10.0.0.1:5000",
            state="ready",
            sessions=10 if full else 0,
            capacity=10,
            region=region,
            place=place,
        )
        backend.directory.learn_transceiver(transceiver, now)


@asynccontextmanager
async def serving(
    table: PlaceTable | None = None, client: str = STRANGER, **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Backend]]:
    """A client at this address, and what signaling knows: three regions."""
    given = Settings(
        region="us",
        cluster=2,
        trusted_proxies="10.0.0.0/8",
        allow_open=True,
        **{"place_headers": "cloudflare", **settings},
    )
    backend = Backend(given)
    for region in PLACES:
        announce(backend, region)
    transport = httpx.ASGITransport(create_app(given, backend, None, table), client=(client, 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        yield http, backend


async def placement(http: httpx.AsyncClient, query: str = "", **headers: str) -> tuple[str, str, str]:
    """Source, region of the cluster, region of the ingress."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await http.get(f"/v1/regions{query}", headers=named)
    assert answer.status_code == 200, answer.text
    found = answer.json()["placement"]
    return found["source"], found["region"], found["ingress"]


async def test_a_hint_wins_over_a_header_and_a_region_over_coordinates() -> None:
    async with serving(client=PROXY) as (http, _):
        assert await placement(http, **SYDNEY) == ("header", "eu", "au")
        assert await placement(http, "?region=eu", **SYDNEY) == ("hint", "eu", "eu")
        assert await placement(http, "?place=51.5,-0.1", **SYDNEY) == ("hint", "eu", "eu")
        assert await placement(http, "?region=us&place=51.5,-0.1") == ("hint", "us", "us")
        assert await placement(http, antiphon_region="eu") == ("hint", "eu", "eu")
        assert await placement(http, antiphon_place="-33.9,151.0") == ("hint", "eu", "au")
        assert await placement(http, "?region=us", antiphon_region="eu") == ("hint", "us", "us")
        assert await placement(http, "?region=") == ("unknown", "us", "us")


async def test_a_place_header_counts_from_trusted_proxies_only() -> None:
    async with serving(client=STRANGER) as (http, _):
        assert await placement(http, **SYDNEY) == ("unknown", "us", "us")
        assert await placement(http, **SYDNEY, x_forwarded_for=PROXY) == ("unknown", "us", "us")
    async with serving(client=PROXY) as (http, _):
        assert await placement(http, **SYDNEY, x_forwarded_for=STRANGER) == ("header", "eu", "au")


@pytest.mark.parametrize(
    ("setting", "headers"),
    [
        ("cloudflare", {"CF-IPLatitude": "-33.9", "CF-IPLongitude": "151.0"}),
        ("google", {"X-Client-City-Lat-Long": "-33.868820,151.209296"}),
        ("fastly", {"client-geo-latitude": "-33.870", "client-geo-longitude": "151.210"}),
        ("aws", {"CloudFront-Viewer-Latitude": "-33.86880", "CloudFront-Viewer-Longitude": "151.20930"}),
        ("X-Lat, X-Long", {"x-lat": "-33.9", "x-long": "151.0"}),
        ("X-Where", {"x-where": "-33.9, 151.0"}),
    ],
)
async def test_each_proxys_own_headers_are_read(setting: str, headers: dict[str, str]) -> None:
    async with serving(client=PROXY, place_headers=setting) as (http, _):
        assert await placement(http, **headers) == ("header", "eu", "au")


@pytest.mark.parametrize(
    "headers",
    [
        [("cf-iplatitude", "-33.9")],
        [("cf-iplatitude", ""), ("cf-iplongitude", "")],
        [("cf-iplatitude", "999.9"), ("cf-iplongitude", "999.9")],
        [("cf-iplatitude", "-33.9"), ("cf-iplongitude", "151.0"), ("cf-iplongitude", "8.0")],
        [("cf-iplatitude", "-33.9, 50.1"), ("cf-iplongitude", "151.0, 8.0")],
        [("cf-iplatitude", "nan"), ("cf-iplongitude", "inf")],
        [("cf-iplatitude", "é"), ("cf-iplongitude", "1")],
    ],
)
async def test_headers_that_hold_no_place_or_two_are_no_place(headers: list[tuple[str, str]]) -> None:
    async with serving(client=PROXY) as (http, _):
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        answer = await http.get("/v1/regions", headers=raw)
        assert answer.json()["placement"]["source"] == "unknown"


async def test_the_table_knows_addresses_that_no_header_tells(tmp_path: Path) -> None:
    path = tmp_path / "places.mmdb"
    path.write_bytes(place_table({"203.0.113.0/24": {"location": {"latitude": -33.9, "longitude": 151.0}}}))
    table = PlaceTable(path)
    async with serving(table, STRANGER) as (http, _):
        assert await placement(http) == ("table", "eu", "au")
        assert await placement(http, "?region=us") == ("hint", "us", "us")
    async with serving(table, PROXY) as (http, _):
        assert await placement(http, x_forwarded_for=STRANGER) == ("table", "eu", "au")
        assert await placement(http, x_forwarded_for="198.51.100.1") == ("unknown", "us", "us")
        london = {"cf-iplatitude": "51.5", "cf-iplongitude": "-0.1"}
        assert await placement(http, x_forwarded_for=STRANGER, **london) == ("header", "eu", "eu")


async def test_a_full_cluster_and_a_draining_relay_are_passed_over() -> None:
    async with serving() as (http, backend):
        announce(backend, "eu", full=True)
        assert await placement(http, "?region=eu") == ("hint", "us", "eu")
        announce(backend, "eu", full=True, ready=False)
        assert (await placement(http, "?region=eu"))[1:] == ("us", "us")
        announce(backend, "us", full=True)
        answer = (await http.get("/v1/regions?region=eu")).json()
        assert answer["placement"] == {"source": "hint", "region": None, "ingress": None}


async def test_the_regions_show_no_addresses_and_no_load() -> None:
    async with serving() as (http, backend):
        announce(backend, "us", full=True)
        answer = await http.get("/v1/regions")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["data"] == [
            {"name": "au", "latitude": -33.87, "longitude": 151.21, "clusters": [], "ingress": True},
            {
                "name": "eu",
                "latitude": 50.11,
                "longitude": 8.68,
                "clusters": [{"cluster": 1, "room": True}],
                "ingress": True,
            },
            {
                "name": "us",
                "latitude": 38.9,
                "longitude": -77.4,
                "clusters": [{"cluster": 2, "room": False}],
                "ingress": True,
            },
        ]
        assert "192.0.2" not in answer.text
        assert "10.0" not in answer.text


async def test_the_regions_are_for_those_who_may_call() -> None:
    async with serving(api_keys="a-key-of-some-length") as (http, _):
        refused = await http.get("/v1/regions?region=atlantis")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_api_key")
        allowed = await http.get("/v1/regions", headers={"Authorization": "Bearer a-key-of-some-length"})
        assert allowed.status_code == 200


async def test_a_region_that_is_gone_still_says_where_a_client_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as (http, backend):
        assert await placement(http, "?region=eu") == ("hint", "eu", "eu")
        later = time.monotonic() + 60
        monkeypatch.setattr(time, "monotonic", lambda: later)
        for region in ("us", "au"):
            announce(backend, region)
        assert await placement(http, "?region=eu") == ("hint", "us", "us")
        rows = {each["name"]: each for each in (await http.get("/v1/regions")).json()["data"]}
        assert (rows["eu"]["clusters"], rows["eu"]["ingress"]) == ([], False)


@pytest.mark.parametrize("text", ["50.11", "north,east", "91,0", "0,181", "nan,nan", "1,2,3"])
async def test_a_hint_that_is_no_place_is_named(text: str) -> None:
    async with serving() as (http, _):
        answer = await http.get("/v1/regions", params={"place": text})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_place")
        assert "50.11,8.68" in answer.json()["error"]["message"]


async def test_without_nats_a_region_is_not_unknown_but_can_t_be_known() -> None:
    async with serving() as (http, _):
        answer = await http.get("/v1/regions?region=atlantis")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "nats_down")


@pytest.mark.parametrize("text", ["clouds", "a,b,c", "x-lat,", "x lat,x long", ","])
def test_place_headers_that_are_none_are_named(text: str) -> None:
    with pytest.raises(ValueError, match="ANTIPHON_PLACE_HEADERS"):
        PlaceHeaders(text)


def test_all_presets_are_read_and_none_is_off() -> None:
    assert {name for name in PRESETS if not PlaceHeaders(name)} == {"none"}


def test_place_headers_without_a_proxy_are_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_PLACE_HEADERS", "aws")
    with pytest.raises(ValueError, match="no ANTIPHON_TRUSTED_PROXIES are set"):
        load()
    monkeypatch.setenv("ANTIPHON_TRUSTED_PROXIES", "10.0.0.0/8")
    assert load().headers_of_place()


class Joined(Backend):
    """As if NATS were connected, with nothing in the register of this region."""

    @property
    def connected(self) -> bool:
        return True

    async def services(self) -> ServiceTable:
        return ServiceTable()


async def test_signaling_of_a_region_without_a_cluster_is_healthy_while_another_region_takes_calls() -> None:
    settings = Settings(region="au", cluster=9)
    backend = Joined(settings)
    announce(backend, "us")
    assert await failing_parts(settings, backend) == {}
    announce(backend, "us", full=True)
    assert set(await failing_parts(settings, backend)) == {"transceiver", "agent"}
    own = Joined(Settings(region="us", cluster=2))
    announce(own, "us")
    assert set(await failing_parts(settings, own)) == {"transceiver", "relay", "agent"}
