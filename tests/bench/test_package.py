"""The bench package as it is installed: its data is in the wheel, its benches load, and a missing package is named."""

from __future__ import annotations

import argparse
import builtins
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

from antiphon import bench
from antiphon.cli.main import main

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_what_benches_compile_and_read() -> None:
    built = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {
        "antiphon/bench/relay/forward.c",
        "antiphon/bench/media/c_baseline.c",
        "antiphon/cli/nats.conf",
        "antiphon/bench/py.typed",
    } <= built
    assert {f"antiphon/bench/{module.replace('.', '/')}.py" for module in bench.BENCHES.values()} <= built


@pytest.mark.parametrize("name", bench.names())
def test_every_bench_has_arguments_and_a_summary(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"antiphon.bench.{bench.BENCHES[name]}")
    module.add_arguments(argparse.ArgumentParser())
    assert callable(module.run)
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    assert name in capsys.readouterr().out


def test_the_independent_driver_imports_nothing_of_ours() -> None:
    assert "antiphon" not in {
        line.split()[1].partition(".")[0]
        for line in (ROOT / "bench/antiphon/bench/media/independent_driver.py").read_text().splitlines()
        if line.startswith(("import ", "from "))
    }


def test_a_bench_without_its_packages_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = f"antiphon.bench.{bench.BENCHES['end-of-turn']}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    real = builtins.__import__

    def without_soxr(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "soxr":
            raise ModuleNotFoundError("No module named 'soxr'", name="soxr")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_soxr)
    monkeypatch.setattr(sys, "argv", ["antiphon", "bench", "end-of-turn"])
    assert main(["bench", "end-of-turn", "model.onnx"]) == 2
    assert "`antiphon bench end-of-turn` needs soxr: pip install '.[bench]'" in capsys.readouterr().err
