"""What all messages share, and the only way in and out: `encode`, `decode`, `decode_any`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from antiphon.schemas.errors import MalformedError

MESSAGE_VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 512 * 1024
"""Bytes of a message; a longer one is refused unread (an SDP offer is below 64 KiB)."""

AudioRate = Literal[8000, 16000, 24000, 48000]
"""Hz."""
M = TypeVar("M", bound="AnyMessage")
T = TypeVar("T")


class AnyMessage(BaseModel):
    """A message of any version: immutable, and unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int
    """Each message says which one it has."""


class Message(AnyMessage):
    """Base of the messages of the first version: all but `Claim`."""

    version: Literal[1] = MESSAGE_VERSION
    """A reader refuses other versions."""


def encode(message: AnyMessage) -> bytes:
    """The message as JSON; fields that are None are left out."""
    return message.model_dump_json(exclude_none=True).encode()


def decode(data: bytes, model: type[M]) -> M:
    """Read one model; `MalformedError` says which field is wrong."""
    return _read(data, model.__name__, model.model_validate_json)


def decode_any(data: bytes, adapter: TypeAdapter[T], name: str) -> T:
    """Read one of a union, such as `OPEN_REPLY`."""
    return _read(data, name, adapter.validate_json)


def _read(data: bytes, name: str, validate: Callable[[bytes], T]) -> T:
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedError(f"{name} of {len(data)} bytes is refused: at most {MAX_MESSAGE_BYTES} are read")
    try:
        return validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        if first["type"] == "literal_error" and first["loc"][-1] == "version":
            read = first.get("ctx", {}).get("expected", "another")
            raise MalformedError(
                f"{name} is malformed at {where}: version {read} is read here; run one release of antiphon everywhere"
            ) from None
        raise MalformedError(f"{name} is malformed at {where}: {first['msg']}") from None
