"""What a value in a client's JSON may be: checks that return it as it is used, or say what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from antiphon.inference_bridge.realtime_protocol.bounds import json_bytes

MAX_OPAQUE_BYTES: Final = 4096
"""Of a value that means nothing here, as JSON."""
Check = Callable[[Any], Any]
"""Takes a JSON value that is not null and returns it as it is used; raises `BadValue`. May return `Partly`."""


class BadValue(ValueError):
    """A value, or a part of it, that can't be used."""

    def __init__(self, why: str, code: str = "invalid_value", inside: str = "", value: Any = None) -> None:
        """`inside`: path of the part below the field, such as `[1].type`. `value`: of the part; None: not shown."""
        super().__init__(why)
        self.code, self.inside, self.value = code, inside, value


@dataclass(frozen=True)
class Partly:
    """A list of which some elements can be used. A value."""

    value: Any
    troubles: tuple[BadValue, ...]


def number(least: float, most: float) -> Check:
    """A number of this range."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadValue("a number is expected", "invalid_type")
        if not least <= value <= most:
            raise BadValue(f"from {least:g} to {most:g} is supported")
        return value

    return check


def integer(least: int, most: int) -> Check:
    """A whole number of this range; 5.0 is one in JSON."""

    def check(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            raise BadValue("a whole number is expected", "invalid_type")
        if not least <= value <= most:
            raise BadValue(f"from {least} to {most} is supported")
        return int(value)

    return check


def boolean(value: Any) -> Any:
    """True or false."""
    if not isinstance(value, bool):
        raise BadValue("true or false is expected", "invalid_type")
    return value


def text(most: int) -> Check:
    """A text of at most so many characters."""

    def check(value: Any) -> Any:
        if not isinstance(value, str):
            raise BadValue("a text is expected", "invalid_type")
        if len(value) > most:
            raise BadValue(f"it has {len(value)} characters, at most {most} are taken", value=None)
        return value

    return check


def one_of(*values: Any) -> Check:
    """One of these texts or numbers."""

    def check(value: Any) -> Any:
        if isinstance(value, bool | Mapping | list) or value not in values:
            raise BadValue(f"one of {', '.join(map(str, values))} is supported")
        return value

    return check


def opaque(value: Any) -> Any:
    """Any value that is small enough to be kept for nothing."""
    if (size := json_bytes(value)) > MAX_OPAQUE_BYTES:
        raise BadValue(f"it has {size} bytes as JSON, at most {MAX_OPAQUE_BYTES} are taken")
    return value


def opaque_object(value: Any) -> Any:
    """Any object that is small enough to be kept for nothing."""
    if not isinstance(value, Mapping):
        raise BadValue("an object is expected", "invalid_type")
    return opaque(value)


def several(values: Collection[str], most: int) -> Check:
    """A list of some of these texts, at least one; each counts once."""

    def check(value: Any) -> Any:
        if not isinstance(value, list):
            raise BadValue("a list is expected", "invalid_type")
        if not 0 < len(value) <= most:
            raise BadValue(f"it has {len(value)} elements, from 1 to {most} are taken")
        for at, each in enumerate(value):
            if not isinstance(each, str) or each not in values:
                raise BadValue(f"one of {', '.join(values)} is supported", inside=f"[{at}]", value=each)
        return tuple(dict.fromkeys(value))

    return check
