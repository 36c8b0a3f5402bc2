"""libopus through our binding."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.models.sounds import tone

from antiphon.rtc.media import opus

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_opus_round_trips_at_every_rate(rate: int) -> None:
    encoder, decoder = opus.Encoder(rate), opus.Decoder(rate)
    pcm, size = tone(0.2, rate), rate // 50 * 2
    for at in range(0, len(pcm), size):
        packet = encoder.encode(pcm[at : at + size])
        assert opus.packet_ticks(packet) == 960
        heard = decoder.decode(packet)
        assert len(heard) == size
    assert max(memoryview(heard).cast("h")) > 4000
    assert len(decoder.conceal(960)) == size


def test_a_lost_frame_comes_back_from_the_fec_of_the_next_packet() -> None:
    encoder, decoder = opus.Encoder(16000, bitrate=32000), opus.Decoder(16000)
    encoder.expect_loss(30)
    pcm = tone(0.2, 16000, 440) + tone(0.02, 16000, 1500) + tone(0.2, 16000, 440)
    packets = [encoder.encode(pcm[at : at + 640]) for at in range(0, len(pcm), 640)]
    for packet in packets[:10]:
        decoder.decode(packet)
    recovered = memoryview(decoder.recover(packets[11], 960)).cast("h")
    crossings = sum(a < 0 <= b for a, b in pairwise(recovered))
    assert crossings > 15  # of the 1500 Hz that was lost, not of the 440 Hz around it


@given(st.binary(max_size=200))
def test_no_packet_makes_opus_raise_anything_but_its_own_error(packet: bytes) -> None:
    decoder = opus.Decoder(16000)
    for call in (
        lambda: opus.packet_ticks(packet),
        lambda: decoder.decode(packet),
        lambda: decoder.recover(packet, 960),
    ):
        try:
            call()
        except opus.OpusError:
            continue
