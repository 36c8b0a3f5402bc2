"""A session as one value: written and read back, nothing lost."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.rtc.dtls.state import DtlsState
from antiphon.rtc.rtp.srtp_state import SrtpState
from antiphon.transceiver.session.state import RtpState, RtviState, SessionState

pytestmark = pytest.mark.pure

numbers = st.integers(0, 2**48)
keys = st.binary(max_size=88)
states = st.builds(
    SessionState,
    session_id=st.text("abc_", max_size=28),
    agent=st.text("abc", max_size=5),
    ufrags=st.lists(st.text("abc", max_size=23), max_size=3),
    remote_fingerprints=st.lists(st.tuples(st.text("a-1", max_size=7), st.text("AF:", max_size=95)), max_size=3),
    input_rate=st.sampled_from((8000, 16000, 24000, 48000)),
    rtp=st.builds(
        RtpState,
        numbers,
        st.integers(0, 127),
        numbers,
        numbers,
        numbers,
        codec=st.sampled_from(("opus", "PCMU", "PCMA")),
    ),
    session_settings=st.dictionaries(st.text("abc"), st.none() | st.booleans() | st.floats(allow_nan=False) | numbers),
    path_header=st.binary(max_size=20),
    path_relay=st.none() | st.tuples(st.ip_addresses().map(str), st.integers(1, 65535)),
    srtp=st.none() | st.builds(SrtpState, st.just("SRTP_AEAD_AES_128_GCM"), keys, keys, numbers, numbers, numbers),
    dtls=st.none()
    | st.builds(
        DtlsState, st.just("X"), st.booleans(), keys, numbers, st.integers(-1, 2**48), st.integers(0, 2**64 - 1)
    ),
    data_port=st.none() | st.integers(1, 65535),
    input_samples=numbers,
    generation=numbers,
    listens=st.booleans(),
    direction=st.sampled_from(("sendrecv", "sendonly", "recvonly", "inactive")),
    remote_credentials=st.dictionaries(
        st.text("abc", max_size=23), st.tuples(st.text(max_size=9), st.text(max_size=9))
    ),
    rtvi=st.none() | st.builds(RtviState, st.text(max_size=5), numbers, st.dictionaries(st.text("ab"), st.text("cd"))),
    listens_to=st.text("rtc_", max_size=28),
)


@given(states)
def test_a_state_is_read_back_as_it_was_written(state: SessionState) -> None:
    assert SessionState.from_bytes(state.to_bytes()) == state


def test_another_version_is_refused_by_name() -> None:
    data = SessionState("s", "a", [], [], 16000, RtpState(1, 2, 3, 4)).to_bytes()
    with pytest.raises(ValueError, match="version 9"):
        SessionState.from_bytes(data[:1] + b"\x09" + data[2:])


def test_what_a_newer_process_adds_is_left_out() -> None:
    ours = SessionState("s", "a", [], [], 16000, RtpState(1, 2, 3, 4), srtp=SrtpState("X", b"", b"", 1, 2, 3))
    version, fields = msgpack.unpackb(ours.to_bytes())
    for part in (fields, fields["rtp"], fields["speech"], fields["srtp"]):
        part["of_the_next_release"] = [1, {"a": 2}]
    assert SessionState.from_bytes(msgpack.packb([version, fields])) == ours


def test_every_field_that_was_added_to_the_first_ones_has_a_default() -> None:
    version, fields = msgpack.unpackb(SessionState("s", "a", [], [], 16000, RtpState(1, 2, 3, 4)).to_bytes())
    first = {"session_id", "agent", "ufrags", "remote_fingerprints", "input_rate", "rtp"}
    few = {name: value for name, value in fields.items() if name in first}
    assert SessionState.from_bytes(msgpack.packb([version, few])).session_id == "s"


def test_a_state_of_an_older_process_has_opus_both_ways() -> None:
    version, fields = msgpack.unpackb(SessionState("s", "a", [], [], 16000, RtpState(1, 2, 3, 4)).to_bytes())
    for name in ("direction", "listens", "remote_credentials"):
        del fields[name]
    del fields["rtp"]["codec"]
    state = SessionState.from_bytes(msgpack.packb([version, fields]))
    assert (state.rtp.codec, state.direction, state.listens, state.remote_credentials) == ("opus", "sendrecv", True, {})
