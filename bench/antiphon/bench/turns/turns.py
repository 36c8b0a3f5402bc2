"""When the agent takes callers for done, and what interrupts it: scripted turns and sounds, with intervals.

At least 200 turns: half stand in `scripts`, half come from `--seed`. `--offline` computes the decisions of the
detector and the models faster than real time, at two loads; without it calls run in real time over a bridge process and
NATS of the bench's own, with a stand-in for the transceiver, and sounds over the agent's speech are played as well.
Every run measures 400 ms of silence beside the default.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from antiphon.bench.turns import generated, scripts
from antiphon.bench.turns.offline import Models, run_call
from antiphon.bench.turns.outcomes import TurnOutcome, turns_report
from antiphon.bench.turns.scenes import Scene, scene
from antiphon.bench.turns.speakers import Speakers
from antiphon.cli.errors import UsageError
from antiphon.inference_bridge.models.local import load_transcriber, load_voice_activity
from antiphon.inference_bridge.models.smart_turn import SmartTurn
from antiphon.inference_bridge.models.sources import ModelError, smart_turn_file
from antiphon.inference_bridge.settings import Settings
from antiphon.inference_bridge.stt.transcriber import Whisper
from antiphon.inference_bridge.turns.turn_settings import TurnSettings

FEWEST_TURNS: Final = 200
TURNS_OF_A_CALL: Final = 6
SILENCE: Final = "400 ms of silence"
POLICIES: Final = {
    SILENCE: TurnSettings(relative_gate=False),
    "800 ms of silence": TurnSettings(silence_ms=800, relative_gate=False),
    "all signals": TurnSettings(judged=True, early_ms=96),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="computed decisions, faster than real time")
    parser.add_argument("--seed", type=int, default=None, help="of the generated half (default: a new one)")
    parser.add_argument("--turns", type=int, default=FEWEST_TURNS, help="turns in all (default: %(default)s)")
    parser.add_argument("--calls", type=int, nargs="+", default=[2, 5], help="loads, calls at once (default: 2 5)")
    parser.add_argument("--sounds", type=int, help="sounds over the agent's speech (default: half as many as turns)")
    parser.add_argument("--default-only", action="store_true", help="live, without the run at 400 ms of silence")
    parser.add_argument("--details", action="store_true", help="also print each turn that was cut, to stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    if args.turns < 1 or min(args.calls) < 1:
        raise UsageError("--turns and --calls are at least 1")
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    cache = Settings().cache_dir / "bench-turns"
    speakers = Speakers(cache)
    calls = scenes_of_calls(speakers, seed, args.turns)
    result: dict[str, Any] = {"seed": seed, "missing": speakers.missing}
    result["languages"] = sorted({each.script.language for call in calls for each in call})
    result["voices"] = sorted({each.voice for call in calls for each in call})
    if args.offline:
        result |= offline(calls, cache, args.calls, seed, args.details)
    else:
        from antiphon.bench.turns.live import measure

        policies = ["default"] if args.default_only else ["400 ms of silence", "default"]
        sounds = args.turns // 2 if args.sounds is None else args.sounds
        result |= asyncio.run(measure(calls, speakers, args.calls, seed, args.details, sounds, policies))
    if args.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0


def scenes_of_calls(speakers: Speakers, seed: int, count: int) -> list[list[Scene]]:
    """The turns of all calls: each call has one voice."""
    chance = random.Random(seed)
    fixed = list(scripts.TURNS)
    chance.shuffle(fixed)
    written = [*fixed[: -(-count // 2)], *generated.turns(seed, max(count // 2, count - len(fixed)))]
    chance.shuffle(written)
    calls: dict[tuple[str, int], list[Scene]] = {}
    for number, script in enumerate(written):
        names = speakers.names(script.language) if script.language in understood() else []
        if not names:
            continue  # `missing` says so
        voice = names[number % len(names)]
        own = [key for key in calls if key[0] == voice]
        if not own or len(calls[own[-1]]) >= TURNS_OF_A_CALL:
            own.append((voice, len(own)))
            calls[own[-1]] = []
        calls[own[-1]].append(scene(script, voice, speakers, seed + number))
    return list(calls.values())


def understood() -> set[str]:
    """The languages that the recogniser takes."""
    takes_language = "language" in inspect.signature(Whisper.transcribe).parameters
    return {"en", "es"} if takes_language else {"en"}


def offline(
    calls: Sequence[Sequence[Scene]], cache: Path, loads: Sequence[int], seed: int, details: bool
) -> dict[str, Any]:
    settings = Settings()
    try:
        smart_turn = SmartTurn(smart_turn_file(settings.smart_turn_path, settings.smart_turn_sha256))
    except ModelError as error:
        print(f"without smart-turn: {error}", file=sys.stderr)
        smart_turn = None
    models = Models(load_voice_activity(settings), load_transcriber(settings), smart_turn, cache)
    found: dict[str, Any] = {}
    for load in loads:
        for name, policy in POLICIES.items():
            outcomes: list[TurnOutcome] = []
            for number, call in enumerate(calls):
                outcomes += run_call(call, models, policy, load, seed + number)
            found[f"{name}, {load} calls"] = turns_report(outcomes)
            if details:
                show_cut(name, outcomes)
    return {"mode": "offline", "smart_turn": smart_turn is not None, "policies": found}


def show_cut(name: str, outcomes: Sequence[TurnOutcome]) -> None:
    for each in outcomes:
        if each.cut_in or each.missed or (each.decision_s or 0) > 1.3:
            what = "cut" if each.cut_in else "missed" if each.missed else f"{each.decision_s:.2f} s"
            print(f"{name}: {what}: {each.kind}: {each.text}", file=sys.stderr)


def show(result: dict[str, Any]) -> None:
    policies = result.pop("policies")
    for name, value in result.items():
        print(f"{name:>12}: {value}")
    for policy, report in policies.items():
        print(f"\n{policy}")
        for name, value in report.items():
            print(f"  {name:>28}: {value}")
