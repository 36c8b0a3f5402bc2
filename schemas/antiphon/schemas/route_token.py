"""The route token: the transceiver that owns a call, sealed into the ICE username fragment.

ufrag = one key-id character + 22 characters of unpadded base64 over one AES-128 block:

    bits   4       12       16     16      32       16      32
         format  cluster   slot   epoch  session   hour    zero

The relay opens it with the route key alone and so needs no look-up to route a first packet. The 32 zero
bits are the redundancy that makes a forgery a 2^-32 guess. The minter redraws the session number until
the text has neither `+` nor `/` (some clients and tools trip over them in a ufrag); that halves the
space and costs two draws on average. The last base64 character carries two bits only, so sixteen
spellings would decode to the same block: the canonical one alone is accepted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import string
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from antiphon.schemas.errors import MalformedError

UFRAG_LENGTH: Final = 23
FORMAT: Final = 1
HOURS_EPOCH: Final = 1_577_836_800
"""Unix time of 2020-01-01T00:00Z, hour zero of a token."""
KEY_IDS: Final = string.ascii_letters + string.digits


class RouteToken(NamedTuple):
    """The content of a ufrag. A value; every field is an unsigned integer of the stated width."""

    cluster: int
    """12 bit."""
    slot: int
    """16 bit: transceiver slot in the cluster."""
    epoch: int
    """16 bit: counts the processes on that slot, so that a later one never gets an earlier one's packets."""
    session: int
    """32 bit, drawn at random by the minter."""
    hour: int
    """16 bit: hour minted, counted from 2020-01-01."""


def hour_of(unix_time: float) -> int:
    """The token hour at `unix_time` seconds; begins anew every 65536 hours (7.5 years), which `age_in_hours` knows."""
    return int(unix_time - HOURS_EPOCH) // 3600 & 0xFFFF


def age_in_hours(token: RouteToken, unix_time: float) -> int:
    """Whole hours since minting, -32768..32767: negative for a token from the future."""
    return ((hour_of(unix_time) - token.hour + 0x8000) & 0xFFFF) - 0x8000


def _pack(token: RouteToken) -> bytes:
    for name, value, bits in zip(token._fields, token, (12, 16, 16, 32, 16), strict=True):
        if not 0 <= value < 1 << bits:
            raise ValueError(f"route token field {name} is {value}: it has {bits} bits")
    cluster, slot, epoch, session, hour = token
    block = FORMAT << 124 | cluster << 112 | slot << 96 | epoch << 80 | session << 48 | hour << 32
    return block.to_bytes(16, "big")


def _unpack(block: bytes) -> RouteToken | None:
    value = int.from_bytes(block, "big")
    if value & 0xFFFFFFFF or value >> 124 != FORMAT:
        return None
    return RouteToken(
        value >> 112 & 0xFFF, value >> 96 & 0xFFFF, value >> 80 & 0xFFFF, value >> 48 & 0xFFFFFFFF, value >> 32 & 0xFFFF
    )


class RouteKeyring:
    """The route keys that are live, newest first. Seals with the first, opens with any.

    Made by a relay or transceiver from its settings, never changed; used by one thread.

    Two keys are live during a rotation: the key-id character in front of the token says which. The AES
    contexts are kept, because making one costs 7 us and using it 0.4 us. ECB over a single block that
    holds a random session number is a plain pseudo-random permutation here, not a mode for messages.
    """

    def __init__(self, keys: Iterable[tuple[str, bytes]]) -> None:
        self._seal: list[tuple[str, Callable[[bytes], bytes]]] = []
        self._open: dict[str, Callable[[bytes], bytes]] = {}
        for key_id, key in keys:
            if len(key_id) != 1 or key_id not in KEY_IDS:
                raise ValueError(f"route key id {key_id!r} is not one letter or digit")
            if len(key) != 16:
                raise ValueError(f"route key {key_id!r} has {len(key)} bytes: AES-128 takes 16")
            if key_id in self._open:
                raise ValueError(f"route key id {key_id!r} is given twice")
            cipher = Cipher(algorithms.AES(key), modes.ECB())
            self._seal.append((key_id, cipher.encryptor().update))
            self._open[key_id] = cipher.decryptor().update
        if not self._seal:
            raise ValueError("a route keyring needs at least one key, such as A:00112233445566778899aabbccddeeff")

    @classmethod
    def from_text(cls, text: str) -> RouteKeyring:
        """Read `A:<32 hex digits>[,B:<32 hex digits>]`, newest first; ValueError names what is wrong."""
        keys: list[tuple[str, bytes]] = []
        for part in filter(None, (p.strip() for p in text.split(","))):
            key_id, colon, digits = part.partition(":")
            if not colon or len(key_id) != 1:  # not shown: it may be the key itself
                raise ValueError("a route key is written as one letter or digit, a colon and 32 hex digits")
            try:
                keys.append((key_id, bytes.fromhex(digits)))
            except ValueError:
                raise ValueError(f"route key {key_id!r} is not written as 32 hex digits after the colon") from None
        return cls(keys)

    def seal(self, token: RouteToken) -> str:
        """The ufrag of exactly this token. It may hold `+` or `/`: see `mint` for one that does not."""
        key_id, encrypt = self._seal[0]
        return key_id + base64.b64encode(encrypt(_pack(token))).decode()[:22]

    def mint(self, cluster: int, slot: int, epoch: int, unix_time: float) -> tuple[str, RouteToken]:
        """Draw session numbers until the ufrag is letters and digits only."""
        while True:
            token = RouteToken(cluster, slot, epoch, secrets.randbits(32), hour_of(unix_time))
            ufrag = self.seal(token)
            if "+" not in ufrag and "/" not in ufrag:
                return ufrag, token

    def open(self, ufrag: bytes | str) -> RouteToken:
        """The token inside; `MalformedError` if it is not one of ours. Expiry is the caller's decision."""
        token = self.find(ufrag.encode("ascii", "replace") if isinstance(ufrag, str) else ufrag)
        if token is None:
            raise MalformedError("ufrag is no route token of ours: wrong length, unknown key id, or it does not open")
        return token

    def find(self, ufrag: bytes) -> RouteToken | None:
        """As `open`, but None instead of an error: for a relay, which may get 100,000 forgeries at once."""
        decrypt = self._open.get(chr(ufrag[0])) if len(ufrag) == UFRAG_LENGTH else None
        if decrypt is None:
            return None
        try:
            block = binascii.a2b_base64(ufrag[1:] + b"==", strict_mode=True)
        except binascii.Error:
            return None
        if len(block) != 16 or base64.b64encode(block)[:22] != ufrag[1:]:
            return None
        return _unpack(decrypt(block))

    def decrypt_all(self, blocks: bytes) -> list[bytes]:
        """Many blocks at once (a multiple of 16 bytes), under each key: to recognise forgeries by the redundancy."""
        return [decrypt(blocks) for decrypt in self._open.values()]


def ice_password(password_key: bytes, ufrag: str) -> str:
    """The ICE password of a ufrag: 24 characters, derived, so that a transceiver which takes a session over can answer.

    Only transceivers and signaling hold `password_key`; a relay can route a call but not join it.
    """
    return base64.b64encode(hmac.new(password_key, ufrag.encode(), hashlib.sha256).digest()).decode()[:24]
