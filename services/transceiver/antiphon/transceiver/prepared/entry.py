"""A prepared call as a value, and how it is written for the bucket: sealed for its key, readable by transceivers only.

It holds the client's ICE password and its session settings; without the password key nobody reads or makes one.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from antiphon.rtc import sdp
from antiphon.rtc.codec import Codec
from antiphon.schemas import messages
from antiphon.transceiver.calls.new_sessions import Terms
from antiphon.transceiver.net.endpoint import TransceiverIdentity

VERSION: Final = 1
_NONCE: Final = 12


class PreparedCall(NamedTuple):
    """What a session is made from, of an offer that was answered. A value."""

    terms: Terms
    request: messages.OpenRequest
    """Without its offer."""
    offer: sdp.Offer
    """What the session needs of it: without its sections, which only the answer needs."""


class PreparedCrypto:
    """AES-256-GCM under a key derived from the password key, bound to the entry's place.

    Owner: `PreparedBucket`. It has no state but its key.
    """

    def __init__(self, password_key: bytes) -> None:
        self._cipher = AESGCM(
            HKDF(hashes.SHA256(), 32, salt=None, info=b"antiphon prepared calls").derive(password_key)
        )

    def seal(self, key: str, call: PreparedCall) -> bytes:
        """The value for that key of the bucket."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, _pack(call), key.encode())

    def open(self, key: str, sealed: bytes) -> PreparedCall:
        """ValueError for what no transceiver of ours has sealed for that key."""
        try:
            packed = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], key.encode())
        except InvalidTag:
            raise ValueError("it was sealed for another place, or with another password key") from None
        return _unpack(packed)


def _pack(call: PreparedCall) -> bytes:
    offer = call.offer
    packed: bytes = msgpack.packb(
        [
            VERSION,
            list(call.terms._replace(fingerprint="")),
            _short(call.terms.fingerprint),
            [
                offer.ufrag,
                offer.password,
                [(algorithm, _short(value)) for algorithm, value in offer.fingerprints],
                offer.client,
                list(offer.codec),
                offer.direction,
                offer.data_port,
                offer.data_max_message,
                offer.telephone,
                offer.audio_level_id,
            ],
            call.request.model_dump(mode="json", exclude_defaults=True, exclude={"offer"}),
        ],
        use_bin_type=True,
    )
    return packed


def _unpack(packed: bytes) -> PreparedCall:
    version, *parts = msgpack.unpackb(packed, raw=False, strict_map_key=False)
    if version != VERSION:
        raise ValueError(f"a prepared call has version {version}: this process reads version {VERSION}")
    terms, fingerprint, offered, request = parts
    ufrag, password, fingerprints, client, codec, direction, data_port, data_max, telephone, level = offered
    session_id, ours, _, ssrc, origin, identity = terms
    return PreparedCall(
        Terms(session_id, ours, _long(fingerprint), ssrc, origin, TransceiverIdentity(*identity)),
        messages.OpenRequest.model_validate({**request, "offer": ""}),
        sdp.Offer(
            sections=(),
            ufrag=ufrag,
            password=password,
            fingerprints=tuple((algorithm, _long(value)) for algorithm, value in fingerprints),
            client=client,
            codec=Codec(*codec),
            codecs=(Codec(*codec),),
            direction=direction,
            data_port=data_port,
            data_max_message=data_max,
            telephone=telephone and (telephone[0], telephone[1]),
            audio_level_id=level,
        ),
    )


def _short(fingerprint: str) -> bytes | str:
    """A third of its length, where it is written as it usually is: ten thousand entries are to be small."""
    try:
        short = bytes.fromhex(fingerprint.replace(":", ""))
    except ValueError:
        return fingerprint
    return short if _long(short) == fingerprint else fingerprint


def _long(fingerprint: bytes | str) -> str:
    return fingerprint if isinstance(fingerprint, str) else fingerprint.hex(":").upper()
