"""A recorded call is one file: what it holds, what is left of it after a kill, and that hostile ones are refused."""

from __future__ import annotations

import asyncio
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nats.aio.msg import Msg
from support.models.sounds import tone
from support.recorded_call import AGENT, BEGAN, CALL, RATE, SECONDS, publish_call, recorded_call

from antiphon.cli.errors import UsageError
from antiphon.cli.main import main
from antiphon.cli.recordings import ogg_opus, replay
from antiphon.cli.recordings.call_file import CallFile, RecordingFileError, finish_left, read_part
from antiphon.cli.recordings.disc_limit import DiscLimit, size_of
from antiphon.cli.recordings.record import Tap
from antiphon.cli.recordings.record_writers import CallFileWriter
from antiphon.cli.recordings.recorded_timeline import MAX_LINES, RecordedTimeline
from antiphon.cli.recordings.recording import Voices
from antiphon.schemas import messages, subjects
from antiphon.schemas.audio import AudioFrame, pack_frame

pytestmark = pytest.mark.pure


def entries_of(path: Path) -> list[dict[str, Any]]:
    lines = read_part(path, "timeline.jsonl", 1 << 20).decode().splitlines()
    return [json.loads(line) for line in lines]


def loudest_hertz(samples: np.ndarray[tuple[int], np.dtype[np.int16]], rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def test_one_file_holds_both_voices_the_words_the_turns_and_the_end(tmp_path: Path) -> None:
    path = recorded_call(tmp_path)
    head = json.loads(read_part(path, "call.json", 1 << 20))
    assert (head["session_id"], head["reason"], head["cut"], head["agents"]) == (CALL, "client_closed", "", [AGENT])
    assert head["call"]["turns"] == 2
    assert (head["audio_began"], head["audio_seconds"], head["rate"]) == (BEGAN, SECONDS, RATE)
    entries = entries_of(path)
    said = [(each["side"], each["text"], each["complete"]) for each in entries if each["type"] == "words"]
    assert said == [
        ("caller", "What time is it?", True),
        ("agent", "It is nine.", True),
        ("agent", "And it", False),
    ], "each once, as played, although the owner has kept words as well"
    assert all(BEGAN <= each["at"] < BEGAN + SECONDS + 1 for each in entries), "by the transceiver's clock, not ours"
    assert head["ended"] == pytest.approx(BEGAN + SECONDS, abs=1)
    assert [each["turn"]["number"] for each in entries if each["type"] == "turn"] == [1]
    assert [each["name"] for each in entries if each["type"] == "event"] == ["connected", "ended"]
    sound = ogg_opus.read(read_part(path, "audio.ogg", 1 << 22), RATE)
    assert len(sound) == pytest.approx(SECONDS * RATE, abs=RATE // 50)
    assert loudest_hertz(sound[:, 0], RATE) == pytest.approx(440, abs=2)
    assert loudest_hertz(sound[:, 1], RATE) == pytest.approx(880, abs=2)
    peaks = np.frombuffer(read_part(path, "peaks.u8", 1 << 20), np.uint8).reshape(-1, 2)
    assert len(peaks) == SECONDS * 50
    assert peaks[10:, 0].min() == 8000 >> 7
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o077 == 0, "others of the machine do not listen in"


def test_the_sides_do_not_leak_into_each_other() -> None:
    sound = np.zeros((RATE, 2), np.int16)
    sound[:, 0] = np.frombuffer(tone(1.0, RATE), np.int16)
    writer = ogg_opus.OggWriter(RATE)
    back = ogg_opus.read(writer.begin() + writer.add(sound.tobytes()) + writer.end(), RATE)
    assert np.abs(back[:, 0]).max() > 7000
    assert np.abs(back[:, 1]).max() < 8


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("samples", [0, 1, 100, 12345])
def test_no_sample_is_lost_at_the_end(rate: int, samples: int) -> None:
    writer = ogg_opus.OggWriter(rate)
    data = writer.begin() + writer.add(bytes(4 * samples)) + writer.end()
    assert len(ogg_opus.read(data, rate)) >= samples


def test_every_page_has_the_checksum_of_ogg() -> None:
    """Bit by bit, as RFC 3533 has it."""
    page = bytearray(ogg_opus.OggWriter(RATE).begin()[:47])
    told = int.from_bytes(page[22:26], "little")
    page[22:26] = bytes(4)
    value = 0
    for each in page:
        value ^= each << 24
        for _ in range(8):
            value = ((value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    assert told == value


def test_a_recorder_that_was_killed_loses_no_more_than_what_it_had_not_written(tmp_path: Path) -> None:
    running, left = tmp_path / "running", tmp_path / "left"
    running.mkdir()
    tap = Tap(running, CallFileWriter, ended_wait=1.0)
    publish_call(tap)
    tap.write()
    shutil.copytree(running, left)  # what is on the disc now
    tap.close()
    assert [path.name for path in finish_left(left)] == [f"{CALL}.antiphon"]
    path = left / f"{CALL}.antiphon"
    assert json.loads(read_part(path, "call.json", 1 << 20))["cut"] == "recorder"
    assert len(entries_of(path)) == 6
    assert not list(left.glob("*.parts"))


def test_what_a_killed_recorder_left_can_be_replayed(tmp_path: Path) -> None:
    writer = ogg_opus.OggWriter(RATE)
    begun = writer.begin() + writer.add(bytes(4 * RATE * 3))
    assert len(ogg_opus.read(begun[:-37], RATE)) == 2 * RATE - 104, "a page that is cut off is left out"


def test_the_caller_s_speech_and_messages_are_replayed_from_the_file(tmp_path: Path) -> None:
    path = recorded_call(tmp_path)
    samples, typed = replay._recorded(path)
    assert loudest_hertz(samples, replay.RATE) == pytest.approx(440, abs=2)
    assert typed == []


def test_what_the_caller_writes_is_among_the_words() -> None:
    line = RecordedTimeline()
    item = {"role": "user", "id": "i1", "content": [{"type": "input_text", "text": "by hand"}]}
    text = json.dumps({"type": "conversation.item.create", "item": item})
    data = messages.encode(messages.DataMessage.of(messages.EVENTS_CHANNEL, text))
    assert [json.loads(each)["text"] for each in line.session("data.in", data, 1.0)] == ["by hand"]


ITEMS: list[object] = [[], {"role": "user", "content": [7]}]
TRANSCRIPTS: list[object] = [[], 5, None]
NO_MESSAGES = [
    *("[]", "7", "null", "{", '{"type": []}', '{"type": "response.done", "response": []}', "[" * 5000),
    *(json.dumps({"type": "conversation.item.create", "item": item}) for item in ITEMS),
    *(json.dumps({"type": "response.output_audio_transcript.done", "transcript": text}) for text in TRANSCRIPTS),
]


@pytest.mark.parametrize("text", NO_MESSAGES)
def test_what_is_no_message_is_harmless(text: str) -> None:
    line = RecordedTimeline()
    for kind in ("data.in", "data.out"):
        data = messages.encode(messages.DataMessage.of(messages.EVENTS_CHANNEL, text))
        assert line.session(kind, data, 1.0) == []
    assert line.session("event", b"\xff", 1.0) == line.owner(b"{}") == []
    line.ended(b"[]")


def test_a_time_line_is_bounded_and_counts_what_it_leaves_out() -> None:
    line = RecordedTimeline()
    event = messages.encode(messages.Draining(seconds=1))
    written = sum(len(line.session("event", event, 1.0)) for _ in range(MAX_LINES + 5))
    assert (written, line.missed) == (MAX_LINES, 5)


def test_an_agent_that_never_ends_its_answers_fills_no_memory() -> None:
    line, written = RecordedTimeline(), 0
    for number in range(100):
        said = {"type": "response.output_audio_transcript.done", "response_id": number, "transcript": "x"}
        data = messages.encode(messages.DataMessage.of(messages.EVENTS_CHANNEL, json.dumps(said)))
        written += len(line.session("data.out", data, 1.0))
    assert written == 92
    assert len(line.rest()) == 8


def test_the_next_agents_rate_changes_nothing_for_the_listener() -> None:
    voices = Voices()
    for rate, first in ((16000, 0), (24000, 50)):
        pcm, size = np.full(rate // 50, 1000, "<i2").tobytes(), rate // 50
        for number in range(first, first + 50):
            voices.caller(AudioFrame(number, number * size, 0, rate, 0, 0, pcm))
    left = np.frombuffer(voices.take(everything=True), "<i2").reshape(-1, 2)[:, 0]
    assert len(left) == 2 * 16000
    assert np.abs(left).min() > 500


def test_two_recorders_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    with (tmp_path / ".antiphon-record").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert main(["record", "--to", str(tmp_path), "--all"]) == 2
    assert "another antiphon record writes to" in capsys.readouterr().err


def test_everybody_is_recorded_only_if_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "--to", str(tmp_path)]) == 2
    assert "--all" in capsys.readouterr().err


# ---- the disc


def test_without_room_no_call_is_recorded_and_running_ones_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.cli.recordings.record._LOOK_EVERY", 0.0)
    tap = Tap(tmp_path, CallFileWriter, DiscLimit(tmp_path, 200_000, 0, False), 1.0)
    publish_call(tap)
    (tmp_path / "old.antiphon").write_bytes(bytes(200_000))
    tap.write()
    frame = pack_frame(AudioFrame(0, 0, 1, RATE, 0, 0, bytes(640)))
    asyncio.run(tap.on_message(Msg(None, subjects.audio_in(AGENT, "rtc_2"), data=frame)))  # type: ignore[arg-type]
    tap.close()
    said = capsys.readouterr().err
    assert "rtc_2 is left out" in said
    assert said.count("recordings end here") == 1
    assert json.loads(read_part(tmp_path / f"{CALL}.antiphon", "call.json", 1 << 20))["cut"] == "disc"
    assert (tmp_path / "old.antiphon").exists()


def test_the_oldest_go_first_where_that_is_wanted(tmp_path: Path) -> None:
    import os

    for number in range(5):
        path = tmp_path / f"rtc_{number}.antiphon"
        path.write_bytes(bytes(1000))
        os.utime(path, (number, number))
    (tmp_path / "notes.txt").write_bytes(bytes(100_000))
    limit = DiscLimit(tmp_path, 2500, 0, True)
    assert limit.has_room()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "rtc_3.antiphon", "rtc_4.antiphon"]


def test_room_for_others_stays_free(tmp_path: Path) -> None:
    assert not DiscLimit(tmp_path, 1 << 50, shutil.disk_usage(tmp_path).total + 1, False).has_room()


@pytest.mark.parametrize(("text", "size"), [("20G", 20 << 30), ("500m", 500 << 20), ("1000", 1000), ("2TiB", 2 << 40)])
def test_sizes_are_written_as_people_write_them(text: str, size: int) -> None:
    assert size_of(text, "--max-size") == size


def test_a_size_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match="--max-size 'much'"):
        size_of("much", "--max-size")


def test_the_sound_of_a_very_long_call_ends_and_the_file_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antiphon.cli.recordings.call_file.MAX_SECONDS", 1.0)
    file = CallFile(tmp_path, "rtc_1", BEGAN)
    for _ in range(4):
        file.audio(bytes(4 * RATE), RATE, BEGAN)
    file.close(BEGAN + 4)
    assert json.loads(read_part(file.path, "call.json", 1 << 20))["cut"] == "length"
    assert len(ogg_opus.read(read_part(file.path, "audio.ogg", 1 << 22), RATE)) < 2.1 * RATE


# ---- files of others


def archive(path: Path, **parts: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in parts.items():
            made.writestr(name.replace("_", "."), data)
    return path


HEAD = json.dumps({"format": "antiphon recording", "version": 1}).encode()


def test_files_that_are_no_recordings_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {
        "text": b"hello",
        "empty": b"",
        "other": archive(tmp_path / "o.zip", a_txt=b"x").read_bytes(),
        "foreign": archive(tmp_path / "f.zip", call_json=b'{"format": "x"}').read_bytes(),
        "broken head": archive(tmp_path / "b.zip", call_json=b"{").read_bytes(),
        "newer": archive(tmp_path / "n.zip", call_json=HEAD.replace(b"1}", b"9}")).read_bytes(),
        "no sound": archive(tmp_path / "s.zip", call_json=HEAD).read_bytes(),
        "noise": archive(tmp_path / "x.zip", call_json=HEAD, audio_ogg=b"OggS" + bytes(100)).read_bytes(),
        "cut off": recorded_call(tmp_path).read_bytes()[:-300],
    }
    for name, data in made.items():
        path = tmp_path / f"{name}.antiphon"
        path.write_bytes(data)
        assert main(["replay", str(path), "--nats", "nats://127.0.0.1:1"]) == 2, name
        said = capsys.readouterr().err
        assert f"{name}.antiphon can't be read" in said
        assert len(said.splitlines()) == 1
    assert main(["replay", str(tmp_path / "none.antiphon")]) == 2


def test_a_part_that_unpacks_to_more_than_is_read_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "bomb.antiphon", call_json=HEAD, timeline_jsonl=bytes(10_000_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(RecordingFileError, match="more than 1000000 bytes"):
        read_part(path, "timeline.jsonl", 1_000_000)
