"""The same turns in real time: a bridge process and a NATS server of the bench's own, a stand-in for the transceiver.

Before each turn the agent's question is put on record as its last words. After the turns, sounds are played over long
speeches of the agent. The stand-in has no network and no jitter buffer: a browser adds about 50 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

from nats.aio.client import Client

from antiphon.bench._lib.processes import nats_server, process
from antiphon.bench.models.whole_turns import plain
from antiphon.bench.turns import generated, scripts
from antiphon.bench.turns.listener_agent import EXPLAIN, NAME, READ
from antiphon.bench.turns.outcomes import OverlapOutcome, TurnOutcome, overlaps_report, turns_report
from antiphon.bench.turns.scenes import Scene, overlap_samples
from antiphon.bench.turns.scripts import Overlap
from antiphon.bench.turns.speakers import RATE, Speakers
from antiphon.cli.errors import UsageError
from antiphon.runtime.nats import connection, service_discovery
from antiphon.testing.fake_transceiver import FakeTransceiver

AGENT: Final = "concierge"
POLICIES: Final[dict[str, dict[str, str]]] = {"400 ms of silence": {"ANTIPHON_TURN_SILENCE_MS": "400"}, "default": {}}
_STARTS_WITHIN_S: Final = 180.0
_AUDIBLE: Final = 200
"""Of 32767: the agent's speech is above it."""
_SETTLES_S: Final = 1.2
"""After the end of a scene until the next one, if an answer is still under way: at most `_ANSWERED_S`."""
_ANSWERED_S: Final = 12.0
_IN_TIME_S: Final = 3.5
"""After the true end; an answer that begins later is a missed end."""
_INTO_SPEECH_S: Final = 1.5
_DECIDED_S: Final = 4.0
"""After a sound began, whatever it leads to has happened."""
_TRANSCRIBED: Final = "conversation.item.input_audio_transcription.completed"


async def measure(
    calls: Sequence[Sequence[Scene]],
    speakers: Speakers,
    loads: Sequence[int],
    seed: int,
    details: bool,
    sounds_wanted: int,
    policies: Sequence[str],
) -> dict[str, Any]:
    """These policies at all loads, one bridge process each."""
    found: dict[str, Any] = {}
    sounds = [*scripts.OVERLAPS, *generated.overlaps(seed, len(scripts.OVERLAPS))]
    random.Random(seed).shuffle(sounds)
    sounds = sounds[:sounds_wanted]
    for load in loads:
        for name in policies:
            environment = POLICIES[name]
            outcomes, overlaps = await _one(calls, sounds, speakers, load, environment)
            found[f"{name}, {load} calls"] = turns_report(outcomes) | {"interruptions": overlaps_report(overlaps)}
            if details:
                _show(name, outcomes, overlaps)
    return {"mode": "live", "policies": found}


def _show(name: str, outcomes: Sequence[TurnOutcome], overlaps: Sequence[OverlapOutcome]) -> None:
    for each in outcomes:
        if each.cut_in or each.missed:
            print(f"{name}: {'cut' if each.cut_in else 'missed'}: {each.kind}: {each.text}", file=sys.stderr)
    for sound in overlaps:
        if sound.interrupts is not (sound.stopped_s is not None and sound.stopped_s < 0.5):
            print(f"{name}: {sound.kind} {sound.text!r}: {sound.stopped_s}", file=sys.stderr)


async def _one(
    calls: Sequence[Sequence[Scene]],
    sounds: Sequence[Overlap],
    speakers: Speakers,
    load: int,
    environment: dict[str, str],
) -> tuple[list[TurnOutcome], list[OverlapOutcome]]:
    outcomes, overlaps = list[TurnOutcome](), list[OverlapOutcome]()
    turns_left, sounds_left = list(calls), list(enumerate(sounds))
    voices = speakers.names("en")
    with tempfile.TemporaryDirectory() as directory, nats_server(Path(directory)) as url:
        variables = {
            "ANTIPHON_NATS_URL": url,
            "ANTIPHON_SCRIPTED_AGENT": NAME,
            "ANTIPHON_GREETING": "none",
            "ANTIPHON_BRIDGE_MAX_WAIT": "0",  # with a load, too, all calls are taken
        }
        command = [sys.executable, "-m", "antiphon.inference_bridge"]
        with process(command, env=variables | environment):
            client = await connection.connect(url, "antiphon-bench-turns")
            await _is_there(client)

            async def caller(number: int) -> None:
                await asyncio.sleep(number * 0.9)
                while turns_left:
                    outcomes.extend(await _turns(client, turns_left.pop(0)))
                while sounds_left:
                    some = [sounds_left.pop(0) for _ in range(min(6, len(sounds_left)))]
                    overlaps.extend(await _sounds(client, some, voices[number % len(voices)], speakers))

            try:
                await asyncio.gather(*(caller(number) for number in range(load)))
            finally:
                await client.close()
    return outcomes, overlaps


async def _is_there(client: Client) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < deadline:
        found = await service_discovery.instances(client, service_discovery.AGENT_SERVICE, 0.2)
        if any(each.get("agent") == AGENT for each in found):
            return
    raise UsageError("the bridge of this bench does not start")


def _says(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": role, "content": content}}


def _session(language: str) -> dict[str, Any]:
    return {"audio": {"input": {"transcription": {"language": language}}}} if language != "en" else {}


# ---- turns -----------------------------------------------------------------------------------------------


async def _turns(client: Client, scenes: Sequence[Scene]) -> list[TurnOutcome]:
    found = []
    async with FakeTransceiver(client, AGENT, _session(scenes[0].script.language)) as call:
        await call.wait_for("session.created")
        for scene in scenes:
            await call.send(_says("assistant", scene.script.asks))
            await call.quiet(0.2)
            found.append(await _turn(call, scene))
            with contextlib.suppress(TimeoutError):
                await call.until(lambda: call.answered, timeout=_ANSWERED_S)
            await call.quiet(_SETTLES_S)
    return found


async def _turn(call: FakeTransceiver, scene: Scene) -> TurnOutcome:
    script = scene.script
    frames, transcripts = len(call.frames), len(call.of_type(_TRANSCRIBED))
    commits = len(call.of_type("input_audio_buffer.committed"))
    await call.play(scene.samples)
    began_ns = time.time_ns() - round(len(scene.samples) / RATE * 1e9)
    true_end_ns = began_ns + round(scene.true_end * 1e9)
    with contextlib.suppress(TimeoutError):  # an end that comes late must not count for the next turn
        await call.until(
            lambda: len(call.of_type("input_audio_buffer.committed")) > commits and call.answered, timeout=_ANSWERED_S
        )
    audible = [
        at
        for frame, at in zip(call.frames[frames:], call.frame_times_ns[frames:], strict=True)
        if max(map(abs, memoryview(frame.pcm).cast("h"))) > _AUDIBLE
    ]
    ended = [
        call.arrivals[number]
        for number, event in enumerate(call.events)
        if event["type"] == "input_audio_buffer.committed"
    ][commits:]
    offset_ns = time.time_ns() - time.monotonic_ns()
    in_time = true_end_ns + round(_IN_TIME_S * 1e9)
    ends_ns = [round(at * 1e9) + offset_ns for at in ended]
    cut_in = any(at < true_end_ns for at in audible)
    answers = [at for at in audible if at >= true_end_ns]
    decisions = [at for at in ends_ns if at >= true_end_ns] or ends_ns[-1:]
    missed = not cut_in and (not answers or answers[0] > in_time)
    said = plain(script.text)
    texts = " ".join(event["transcript"] for event in call.of_type(_TRANSCRIBED)[transcripts:])
    matched = SequenceMatcher(None, said, plain(texts), autojunk=False).get_matching_blocks()
    good = not cut_in and not missed
    return TurnOutcome(
        kind=script.kind,
        paused=script.has_pauses,
        cut_in=cut_in,
        ended_early=any(at < true_end_ns for at in ends_ns),
        missed=missed,
        gap_s=(answers[0] - true_end_ns) / 1e9 if good else None,
        decision_s=max(0.0, (decisions[0] - true_end_ns) / 1e9) if good else None,
        words=len(said),
        words_lost=len(said) - sum(block.size for block in matched),
        language=script.language,
        text=f"{scene.voice}: {script.text}",
    )


# ---- sounds over the agent's speech ----------------------------------------------------------------------


async def _sounds(
    client: Client, sounds: Sequence[tuple[int, Overlap]], voice: str, speakers: Speakers
) -> list[OverlapOutcome]:
    found = []
    async with FakeTransceiver(client, AGENT) as call:
        await call.wait_for("session.created")
        # the bridge has to know how loud the caller speaks
        await call.say(speakers.say(voice, "Hello, I have a question about your office."))
        await call.wait_for("response.done", timeout=30)
        for number, sound in sounds:
            found.append(await _over_speech(call, sound, voice, speakers, number))
            await call.send({"type": "response.cancel"})
            with contextlib.suppress(TimeoutError):
                await call.until(lambda: call.answered, timeout=20)
            await call.quiet(1.0)
    return found


async def _over_speech(
    call: FakeTransceiver, sound: Overlap, voice: str, speakers: Speakers, seed: int
) -> OverlapOutcome:
    await call.send(_says("user", f"{READ}{sound.asks}" if sound.asks else EXPLAIN))
    played = len(call.played)
    await call.send({"type": "response.create"})
    await call.until(lambda: len(call.played) > played + 2 * 24000 * _INTO_SPEECH_S, timeout=30)
    flushes, pauses = len(call.flushes), len(call.pause_times)
    began = time.monotonic()
    samples = overlap_samples(sound, voice, speakers, seed)
    await call.play(samples)
    await call.quiet(max(1.0, _DECIDED_S - len(samples) / RATE))
    stopped = None
    if len(call.flushes) > flushes:
        times = [*call.pause_times[pauses:], call.flush_times[flushes]]
        stopped = max(0.0, min(times) - began)
    return OverlapOutcome(sound.kind, sound.interrupts, stopped, f"{voice}: {sound.text}")
