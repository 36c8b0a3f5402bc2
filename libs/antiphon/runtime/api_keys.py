"""API keys as servers know them: their hashes, scopes, limits and ends, and the file that holds them. Sans-IO.

Signaling reads the file, `antiphon api-keys` writes it.

The file is one JSON document. A key's hash is SHA-256 of its text, without salt and
without a slow function: those protect what people choose, by making each guess dear. A key that the tool makes has 256
random bits, which nobody guesses at any price, and the hash is computed for each request. Keys of a plain list
(`ANTIPHON_API_KEYS`) may be guessable; they are `weak` then, and failed authentications slow guesses down.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

Scope = Literal["calls", "calls.manage", "secrets", "listen", "operator"]
ALL_SCOPES: Final[frozenset[Scope]] = frozenset(("calls", "calls.manage", "secrets", "listen", "operator"))
MAX_KEYS: Final = 10_000
MAX_FILE_BYTES: Final = 4 << 20
"""Of the file; a key takes about 250 bytes."""
WEAK_BITS: Final = 80
"""A key below it may be guessed one day; see `entropy_bits`."""

_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")


class KeyFileError(ValueError):
    """The file of API keys can't be used. The text names what is wrong, never a key."""


def _checked_hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise ValueError("expected sha256: and 64 lower-case hex digits")
    return text


class KeyLimits(BaseModel):
    """Limits of one key, in place of the settings; 0: none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls_per_minute: int | None = Field(default=None, ge=0)
    secrets_per_minute: int | None = Field(default=None, ge=0)
    requests_per_minute: int | None = Field(default=None, ge=0)


class ApiKey(BaseModel):
    """One key: a value. An unknown field is refused: a misspelled `expires` would make a key that never ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Its name in lists and logs; tells nothing about the key."""
    hash: Annotated[str, AfterValidator(_checked_hash)]
    """`sha256:` and the digest of the key's text in hex."""
    scopes: frozenset[Scope] = Field(min_length=1)
    name: str = Field(default="", max_length=100)
    """What the key is for: a note for people."""
    created: AwareDatetime | None = None
    expires: AwareDatetime | None = None
    """None: it does not end by itself."""
    limits: KeyLimits = KeyLimits()
    weak: bool = Field(default=False, exclude=True)
    """From a plain list, with less than `WEAK_BITS`."""

    @property
    def digest(self) -> bytes:
        """The hash as bytes."""
        return bytes.fromhex(self.hash.removeprefix("sha256:"))

    @property
    def creator(self) -> str:
        """The key in `OpenRequest.creator`."""
        return opaque("creator of calls", self.id)

    def ended(self, now: float) -> bool:
        """Whether it has expired at this unix time."""
        return self.expires is not None and now >= self.expires.timestamp()


class _KeyFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1]
    keys: list[ApiKey] = Field(max_length=MAX_KEYS)


class KeyTable:
    """The keys of one moment. A value: a changed file makes another table."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._by_digest: dict[bytes, ApiKey] = {}
        self._by_id: dict[str, ApiKey] = {}
        for key in keys:
            self._by_digest.setdefault(key.digest, key)
            self._by_id.setdefault(key.id, key)

    def __len__(self) -> int:
        return len(self._by_digest)

    @property
    def keys(self) -> Sequence[ApiKey]:
        """All keys, in their order."""
        return tuple(self._by_digest.values())

    def find(self, text: str, now: float) -> ApiKey | None:
        """The key with this text, unless it has ended.

        The look-up by digest may take a time that depends on the digest. It tells nothing: to choose a digest a guesser
        would have to invert SHA-256.
        """
        key = self._by_digest.get(digest_of(text))
        return None if key is None or key.ended(now) else key

    def by_id(self, key_id: str, now: float) -> ApiKey | None:
        """The key with this id, unless it has ended."""
        key = self._by_id.get(key_id)
        return None if key is None or key.ended(now) else key


def digest_of(text: str) -> bytes:
    """SHA-256 of a key's text, whatever characters a header brought."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def opaque(purpose: str, text: str) -> str:
    """A name for `text` on NATS that does not show it: 132 bits of a hash, other ones for each purpose."""
    return hmac.new(f"antiphon: {purpose}".encode(), text.encode(), hashlib.sha256).hexdigest()[:33]


def keys_of_list(texts: Iterable[str]) -> list[ApiKey]:
    """Keys of a plain list: all scopes, no end. The same text gets the same id at every instance."""
    return [
        ApiKey(
            id=f"listed-{opaque('id of a listed key', text)[:16]}",
            hash=f"sha256:{digest_of(text).hex()}",
            scopes=ALL_SCOPES,
            weak=entropy_bits(text) < WEAK_BITS,
        )
        for text in texts
    ]


def is_document(data: bytes) -> bool:
    """Whether this is the JSON document, and not a plain list: no key of a list begins with a brace."""
    return data.lstrip().startswith(b"{")


def read_document(data: bytes) -> list[ApiKey]:
    """The keys of the file; `KeyFileError` names the first thing that is wrong."""
    if len(data) > MAX_FILE_BYTES:
        raise KeyFileError(f"it has more than {MAX_FILE_BYTES} bytes")
    try:
        keys = _KeyFile.model_validate_json(data).keys
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise KeyFileError(f"{where}: {first['msg']}") from None
    for what, values in (("id", [key.id for key in keys]), ("hash", [key.hash for key in keys])):
        if twice := next((value for value in values if values.count(value) > 1), None) if _repeats(values) else None:
            raise KeyFileError(f"two keys have the {what} {twice[:20]}")
    return keys


def _repeats(values: Sequence[str]) -> bool:
    return len(set(values)) < len(values)


def document(keys: Iterable[Mapping[str, object]]) -> str:
    """The text of a file that holds these keys."""
    return json.dumps({"version": 1, "keys": list(keys)}, indent=1) + "\n"


# ---- how hard a key is to guess ------------------------------------------------------------------------

_RUN: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+|.", re.DOTALL)
_WORD_BITS: Final = 13.0
"""Of a run of letters that may be a word: the lists that people draw from have some thousand words."""
_SEPARATOR_BITS: Final = 2.0
_PREFIX: Final = re.compile(r"^(?:sk|ak|pk|key|antiphon)[-_](?:[a-z]{1,12}[-_])?")


def entropy_bits(text: str) -> float:
    """About how many bits a guesser lacks who knows how people choose keys: words, years, repetitions.

    `openssl rand -hex 16` gives about 110, a key of `antiphon api-keys add` 200 and more.
    """
    text = _PREFIX.sub("", text)
    period = (text + text).find(text, 1)
    if 0 < period < len(text):
        text = text[:period]
    if not text:
        return 0.0
    hexadecimal = re.fullmatch(r"[0-9a-f]+|[0-9A-F]+", text) is not None
    sizes = ((26, r"[a-z]"), (26, r"[A-Z]"), (10, r"[0-9]"), (8, r"[^A-Za-z0-9]"))
    per_letter = math.log2(16 if hexadecimal else sum(size for size, form in sizes if re.search(form, text)))
    seen: set[str] = set()
    bits = 0.0
    for run in _RUN.findall(text):
        lowered = run.lower()
        if lowered in seen and len(run) > 1:
            continue
        seen.add(lowered)
        worth = len(run) * per_letter
        if run.isdigit() and len(run) > 3:
            worth = len(run) * math.log2(10)
            steps = {ord(after) - ord(before) for before, after in itertools.pairwise(run)}
            worth = 4.0 if len(steps) == 1 else worth
        elif run.isalpha() and len(run) > 3:
            worth = min(worth, _WORD_BITS)
        elif not run.isalnum():
            worth = _SEPARATOR_BITS
        bits += worth
    return min(bits, float(len(set(text)) ** 2))


def when(text: str) -> datetime:
    """A point in time with its zone; ValueError otherwise."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r:.40} names no time zone: end it with Z or +00:00")
    return moment
