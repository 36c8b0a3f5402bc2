"""The vectors in schemas/vectors/ agree with our code: read from the files, as another language would."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import vectors

from antiphon.schemas import MalformedError, audio, subjects, tunnel
from antiphon.schemas.audio import AudioFrame
from antiphon.schemas.messages import MESSAGES, decode_any
from antiphon.schemas.route_token import RouteKeyring, RouteToken, ice_password

pytestmark = pytest.mark.pure


def _read(name: str) -> Any:
    return json.loads((vectors.DIRECTORY / name).read_text())


def _cases(name: str, part: str, label: str) -> list[Any]:
    return [pytest.param(case, id=str(case[label])[:60]) for case in _read(name)[part]]


@pytest.mark.parametrize("name", vectors.files())
def test_the_vectors_are_current(name: str) -> None:
    written = (vectors.DIRECTORY / name).read_text()
    assert written == vectors.as_text(vectors.files()[name]), "a format has changed; if on purpose: make vectors"


@pytest.mark.parametrize("case", _cases("route_tokens.json", "valid", "ufrag"))
def test_a_route_token_opens_to_the_fields_of_its_vector(case: Any) -> None:
    keyring = RouteKeyring.from_text(case["key"])
    token = RouteToken(**case["fields"])
    assert keyring.seal(token) == case["ufrag"]
    assert keyring.open(case["ufrag"]) == token
    assert ice_password(bytes.fromhex(_read("route_tokens.json")["password_key"]), case["ufrag"]) == case["password"]


@pytest.mark.parametrize("case", _cases("route_tokens.json", "malformed", "why"))
def test_a_malformed_route_token_is_refused(case: Any) -> None:
    with pytest.raises(MalformedError):
        RouteKeyring.from_text(case["keys"]).open(case["ufrag"])


@pytest.mark.parametrize("case", _cases("tunnel.json", "valid", "packet"))
def test_a_tunnel_packet_splits_as_in_its_vector(case: Any) -> None:
    packet = tunnel.unpack(bytes.fromhex(case["packet"]))
    assert str(packet.client) == case["client"]
    assert (packet.tcp, packet.header.hex(), packet.payload.hex()) == (case["tcp"], case["header"], case["payload"])
    assert tunnel.pack_header(packet.client, packet.tcp).hex() == case["header"]


@pytest.mark.parametrize("case", _cases("tunnel.json", "forwarded", "relay"))
def test_a_forwarded_tunnel_packet_splits_as_in_its_vector(case: Any) -> None:
    relay, packet = tunnel.unpack_forwarded(bytes.fromhex(case["forwarded"]))
    assert (str(relay), packet.hex()) == (case["relay"], case["packet"])


@pytest.mark.parametrize("case", _cases("tunnel.json", "malformed", "why"))
def test_a_malformed_tunnel_packet_is_refused(case: Any) -> None:
    with pytest.raises(MalformedError):
        tunnel.unpack(bytes.fromhex(case["packet"]))


@pytest.mark.parametrize("case", _cases("audio_frames.json", "valid", "first_sample"))
def test_an_audio_frame_reads_as_in_its_vector(case: Any) -> None:
    packed = bytes.fromhex(case.pop("packed"))
    frame = AudioFrame(**{**case, "pcm": bytes.fromhex(case["pcm"])})
    assert audio.unpack_frame(packed) == frame
    assert audio.pack_frame(frame) == packed


@pytest.mark.parametrize("case", _cases("audio_frames.json", "malformed", "why"))
def test_a_malformed_audio_frame_is_refused(case: Any) -> None:
    with pytest.raises(MalformedError):
        audio.unpack_frame(bytes.fromhex(case["packed"]))


@pytest.mark.parametrize("case", _read("messages.json")["valid"], ids=lambda case: case["message"])
def test_a_message_of_the_vectors_is_read_and_written_back(case: Any) -> None:
    adapter = MESSAGES[case["message"]]
    message = decode_any(json.dumps(case["json"]).encode(), adapter, case["message"])
    assert json.loads(adapter.dump_json(message, exclude_none=True)) == case["json"]


def test_the_vectors_hold_every_message() -> None:
    assert {case["message"] for case in _read("messages.json")["valid"]} == set(MESSAGES)


@pytest.mark.parametrize(
    "case", _read("messages.json")["malformed"], ids=lambda case: f"{case['message']} {case['why']}"
)
def test_a_malformed_message_is_refused(case: Any) -> None:
    with pytest.raises(MalformedError, match=case["message"]):
        decode_any(case["text"].encode(), MESSAGES[case["message"]], case["message"])


@pytest.mark.parametrize("name", _read("subjects.json")["malformed_names"])
def test_a_name_that_would_break_a_subject_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        subjects.agent_claim(name)
