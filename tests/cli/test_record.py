"""A call is recorded by a tap beside it, and its input plays into an agent again."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soxr
from nats.aio.msg import Msg
from support.models.voice import say, words
from support.processes.bridge import agent_is_there, running_bridge

from antiphon.agent import Agent, DataReceived, Session
from antiphon.cli.call.wav import write_wav
from antiphon.cli.recordings import replay
from antiphon.cli.recordings.record import Tap
from antiphon.cli.recordings.record_writers import WavWriter
from antiphon.cli.recordings.recording import Recording, Voices
from antiphon.runtime.nats import connection
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame
from antiphon.testing.fake_transceiver import FakeTransceiver

COMMAND = [sys.executable, "-m", "antiphon.cli.main"]
SECOND = 1_000_000_000


def frame(number: int, value: int, rate: int = 16000, generation: int = 0) -> AudioFrame:
    size = rate // 50
    pcm = np.full(size, value, dtype="<i2").tobytes()
    return AudioFrame(number, number * size, SECOND + number * 20_000_000, rate, 0, generation, pcm)


def stereo(pcm: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    return np.frombuffer(pcm, dtype="<i2").reshape(-1, 2)


@pytest.mark.pure
def test_the_caller_s_samples_are_kept_as_they_are_and_where_they_were() -> None:
    voices = Voices()
    for number in (0, 1, 4):  # two frames are lost
        voices.caller(frame(number, 100 + number))
    left = stereo(voices.take(everything=True))[:, 0]
    assert [int(left[at * 320]) for at in range(5)] == [100, 101, 0, 0, 104]


@pytest.mark.pure
def test_the_agent_is_heard_when_it_was_played_and_only_what_was_played() -> None:
    voices = Voices()
    for number in range(100):
        voices.caller(frame(number, 0))
    for number in range(50):
        voices.agent(frame(number, 500, generation=1))  # a second of speech, sent at once
    voices.played(1, 320, SECOND + 500_000_000)
    voices.played(1, 3200, SECOND + 690_000_000)  # interrupted after 200 ms
    right = stereo(voices.take(everything=True))[:, 1]
    heard = np.flatnonzero(right)
    assert len(heard) == 3200
    assert abs(heard[0] - 0.48 * 16000) < 320
    assert (np.diff(heard) == 1).all(), "no seam between two reports"


@pytest.mark.pure
def test_what_is_settled_is_written_and_forgotten() -> None:
    voices = Voices()
    written = 0
    for number in range(2000):
        voices.caller(frame(number, 1))
        written += len(voices.take())
        assert max(map(len, voices._sides)) < 4 * 16000
    assert written + len(voices.take(everything=True)) == 2000 * 320 * 4


@pytest.mark.pure
def test_garbage_on_the_subjects_is_noted_and_harmless() -> None:
    recording = Recording("rtc_1")
    assert "unreadable" in recording.message("audio.in", b"\xff", 1)
    assert "unreadable" in recording.message("event", b"{}", 1)
    assert recording.message("audio.in", pack_frame(frame(0, 1)), 1) == ""
    ended = messages.encode(messages.Ended(reason="client_closed"))
    assert json.loads(recording.message("event", ended, 2_000_001))["at_ms"] == 2.0
    assert recording.ended


@pytest.mark.process
async def test_a_replay_is_the_same_call_frame_by_frame_each_time(nats_url: str) -> None:
    agent = Agent("listener", input_rate=16000, detect_speech=False)
    calls: list[list[bytes | str]] = []

    @agent.session
    async def note(session: Session) -> None:
        seen: list[bytes | str] = []
        calls.append(seen)

        async def listen() -> None:
            async for frame in session.audio():
                seen.append(frame.first_sample.to_bytes(8) + frame.pcm)  # noqa: PERF401 - grows while it is played

        session.start(listen())
        async for event in session.events():
            if isinstance(event, DataReceived):
                seen.append(str(event.json()["item"]))  # noqa: PERF401

    caller = np.random.default_rng(5).integers(-9000, 9000, 16000 + 111).astype(np.int16)
    typed = [(210.0, {"type": "typed", "item": 1}), (705.0, {"type": "typed", "item": 2})]
    async with agent.serving(nats_url):
        for _ in range(2):
            assert await replay._replay(nats_url, "listener", caller, typed, False) == 0
    frames = [[each for each in call if isinstance(each, bytes)][:51] for call in calls]
    assert frames[0] == frames[1]
    heard = b"".join(frame[8:] for frame in frames[0])
    assert heard.startswith(caller.tobytes()), "from the first frame on, and nothing between"
    assert [[each for each in call if isinstance(each, str)] for call in calls] == [["1", "2"]] * 2


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["record", "--out", ".", "--nats", "nats://a:secret@127.0.0.1:1"], 1),
        (["record", "--out", ".", "--nats", "nats://a:secret@127.0.0.1:abc"], 2),
        (["replay", "question.wav", "--nats", "nats://a:secret@127.0.0.1:1"], 1),
        (["bench", "media-delay", "--nats", "nats://a:secret@127.0.0.1:1"], 1),
    ],
    ids=["record", "record, no address", "replay", "bench"],
)
def test_a_bus_that_is_not_there_is_told_in_one_line_and_not_waited_for(
    tmp_path: Path, command: list[str], status: int
) -> None:
    write_wav(tmp_path / "question.wav", np.zeros(1600, np.int16), 16000)
    done = subprocess.run([*COMMAND, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert "127.0.0.1" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.pure
def test_calls_above_the_limit_are_left_out_and_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.cli.recordings.record.MAX_CALLS", 1)
    tap = Tap(tmp_path)
    for name in ("rtc_1", "rtc_2", "rtc_2"):
        asyncio.run(tap.on_message(Msg(None, subjects.audio_in("echo", name), data=pack_frame(frame(0, 1)))))  # type: ignore[arg-type]
    tap.close()
    assert capsys.readouterr().err.count("rtc_2 is left out") == 1
    assert {file.stem for file in tmp_path.iterdir()} == {"rtc_1"}


class _FullDisc(WavWriter):
    """Writes as it should until `is_full`."""

    is_full = False

    def audio(self, pcm: bytes, rate: int, began: float) -> None:
        if self.is_full and pcm and self.path.stem == "rtc_1":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().audio(pcm, rate, began)


@pytest.mark.pure
def test_a_disc_that_is_full_ends_that_recording_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(name: str, number: int) -> None:
        data = pack_frame(frame(number, 1))
        asyncio.run(tap.on_message(Msg(None, subjects.audio_in("echo", name), data=data)))  # type: ignore[arg-type]

    tap = Tap(tmp_path, _FullDisc)
    for number in range(500):
        said("rtc_1", number)
        said("rtc_2", number)
    monkeypatch.setattr(_FullDisc, "is_full", True)
    tap.write()
    said("rtc_1", 500)
    said("rtc_2", 500)
    tap.write()
    tap.close()
    told = capsys.readouterr()
    assert told.err.count("the recording of rtc_1 ends here: No space left on device") == 1
    assert "recorded " + str(tmp_path / "rtc_2.wav") in told.out
    assert wave.open(str(tmp_path / "rtc_2.wav")).getnframes() == 501 * 320  # noqa: SIM115


def recorder(folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [*COMMAND, "record", "--out", str(folder)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.process
@pytest.mark.models
async def test_a_recorded_call_is_replayed_into_the_agent(nats_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "ANTIPHON_NATS_URL": nats_url}
    with running_bridge(nats_url, greeting="none"):
        client = await connection.connect(nats_url, "test")
        await agent_is_there(client, "concierge")
        record = recorder(tmp_path, environment)
        try:
            assert record.stderr is not None
            assert "waiting for calls" in await asyncio.to_thread(record.stderr.readline)
            question = say("What time is it?")
            async with FakeTransceiver(client, "concierge") as call:
                await call.say(soxr.resample(question.astype(np.float32), 24000, 16000).astype(np.int16))
                await call.wait_for("response.done", timeout=60)
                session = call.id
        finally:
            record.send_signal(signal.SIGINT)
            await asyncio.to_thread(record.wait, 20)
            record.stderr.close()  # type: ignore[union-attr]
        await client.close()
        path = tmp_path / f"{session}.wav"
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, 16000)
            both = stereo(file.readframes(file.getnframes()))
        assert np.abs(both[:, 0].astype(int)).max() > 1000
        assert np.abs(both[:, 1].astype(int)).max() > 1000
        kinds = {json.loads(line)["kind"] for line in path.with_suffix(".jsonl").read_text().splitlines()}
        assert kinds >= {"event", "data.out"}
        replayed = await asyncio.to_thread(
            subprocess.run,
            [*COMMAND, "replay", str(path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert replayed.returncode == 0, replayed.stderr
        assert {"it", "is"} <= set(words(replayed.stdout.partition("agent:")[2])), replayed.stdout


@pytest.mark.pure
def test_a_recording_follows_the_call_to_the_next_agent_and_takes_nothing_from_another_one(tmp_path: Path) -> None:
    """NATS lets an agent put any call's id behind its own name."""

    def event(of: str, message: messages.Message) -> None:
        take(subjects.session_event(of, "rtc_1"), messages.encode(message))

    def take(subject: str, data: bytes) -> None:
        asyncio.run(tap.on_message(Msg(None, subject, data=data)))  # type: ignore[arg-type]

    def say(of: str, text: str) -> None:
        take(subjects.data_out(of, "rtc_1"), messages.encode(messages.DataMessage.of("oai-events", text)))

    tap = Tap(tmp_path)
    event("front", messages.Connected(setup_ms=1))
    take(subjects.audio_in("front", "rtc_1"), pack_frame(frame(0, 1)))
    say("evil", "injected")
    event("evil", messages.Transferred(agent="evil"))
    event("evil", messages.Ended(reason="hang_up"))
    say("front", "goodbye")
    say("billing", "hello")  # may come before the event that names it
    event("front", messages.Transferred(agent="billing"))
    say("front", "too late")
    event("front", messages.Ended(reason="hang_up"))
    take(subjects.audio_in("billing", "rtc_1"), pack_frame(frame(1, 1)))
    event("billing", messages.Ended(reason="client_closed"))
    tap.close()
    lines = [json.loads(line) for line in (tmp_path / "rtc_1.jsonl").read_text().splitlines()]
    assert [line["message"].get("text") or line["message"]["type"] for line in lines] == [
        "connected",
        "goodbye",
        "transferred",
        "hello",
        "ended",
    ]
    assert lines[-1]["message"]["reason"] == "client_closed"
