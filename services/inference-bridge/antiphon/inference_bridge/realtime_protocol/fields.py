"""The fields of an object that a client sends, each read by itself: taken, or refused by an error of its own. Pure.

A table says which fields there are and what each may be. One that can't be used costs itself: its error names it as the
client wrote it, and the others are taken. Bounded: an object is walked as deep as its table, and causes at most
`MAX_REFUSED` errors and one that counts the rest.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from antiphon.inference_bridge.realtime_protocol.bounds import excess
from antiphon.inference_bridge.realtime_protocol.errors import MAX_SHOWN, ClientError
from antiphon.inference_bridge.realtime_protocol.values import BadValue, Check, Partly

UNKNOWN: Final = "unknown_parameter"
"""The error's code for a field that is neither in the published protocol nor one of ours."""
MAX_REFUSED: Final = 16
"""Errors for one object; one more tells how many fields are refused besides."""
_MAX_GUESSED: Final = 40
"""Characters of an unknown name for which a known one is looked up: the comparison is not linear."""


@dataclass(frozen=True)
class Field:
    """One field. A value."""

    check: Check
    setting: str = ""
    """What it sets; empty: it is taken without effect."""


@dataclass(frozen=True)
class Group:
    """An object of fields. A value."""

    fields: Mapping[str, Field | Group]
    setting: str = ""
    """What it sets as a whole, so that null switches that off; empty: it only holds others."""


@dataclass(frozen=True)
class Part:
    """What of a group with a setting can be used, by the names of its fields; None for null. A value."""

    values: Mapping[str, Any]
    refused: frozenset[str] = frozenset()

    @property
    def is_useless(self) -> bool:
        """All fields that it has are refused."""
        return bool(self.refused) and not self.values


@dataclass
class Reading:
    """What was read of one object. Made and used within one call of `read`, then only looked at."""

    given: dict[str, Any] = field(default_factory=dict)
    """Setting -> value; None for null."""
    names: dict[str, str] = field(default_factory=dict)
    """Setting -> the path of its field as the client wrote it, also where it is refused."""
    refused: list[ClientError] = field(default_factory=list)
    unnamed: int = 0
    """Fields that are refused beyond `MAX_REFUSED`."""

    def is_unknown(self, name: str, fields: Mapping[str, Field | Group], path: str) -> bool:
        """There is no such field below `path`: that is kept as an error."""
        if name in fields:
            return False
        if len(self.refused) >= MAX_REFUSED:
            self.unnamed += 1
        else:
            self.refuse(f"{path}.{name}", UnknownField(name, fields))
        return True

    def refuse(self, path: str, bad: BadValue, value: Any = None) -> None:
        """Keep the error for a field; beyond `MAX_REFUSED` only their number."""
        if len(self.refused) >= MAX_REFUSED:
            self.unnamed += 1
            return
        self.refused.append(refusal(f"{path}{bad.inside}", bad, bad.value if bad.inside else value))


def read(
    raw: Any, root: str, fields: Mapping[str, Field | Group], flat: Mapping[str, Field | Group], offered: bool = False
) -> Reading:
    """Each field of `raw` by itself. `ClientError` if it is no object.

    `root`: the object's own path. `flat`: fields of an older version at the top, whose settings have another place
    now; where both are sent the newer one counts. `offered`: nothing has looked at its depth and size yet.
    """
    if not isinstance(raw, Mapping):
        raise ClientError(f"Invalid type for '{root}': an object is expected.", "invalid_type", root)
    reading = Reading()
    unchecked = offered and bool(excess(raw))
    for name, value in raw.items():
        if name not in flat and not reading.is_unknown(name, fields, root):
            _walk(reading, fields[name], f"{root}.{name}", value, unchecked)
    for name in flat:
        if name in raw:
            _older(reading, flat[name], f"{root}.{name}", raw[name], unchecked)
    if reading.unnamed:
        text = f"{reading.unnamed} more fields of '{root}' are refused; the first {MAX_REFUSED} are named above."
        reading.refused.append(ClientError(text, "invalid_value", root))
    return reading


def refusal(path: str, bad: BadValue, value: Any = None) -> ClientError:
    """The error for a value that can't be used. `value`: shown, if it is short and no object."""
    param = path.encode("ascii", "backslashreplace").decode()[:MAX_SHOWN]
    if bad.code in (UNKNOWN, "missing_required_parameter"):
        kind = "Unknown" if bad.code == UNKNOWN else "Missing required"
        return ClientError(f"{kind} parameter: '{param}'{bad}.", bad.code, param)
    shown = "" if value is None or isinstance(value, Mapping | list) else f" {value!r:.60}"
    what = "type" if bad.code == "invalid_type" else "value"
    return ClientError(f"Invalid {what}{shown} for '{param}': {bad}.", bad.code, param)


class UnknownField(BadValue):
    """A field that there is not. As text it is the one that was perhaps meant, which is looked up only then."""

    def __init__(self, name: str, known: Iterable[str], inside: str = "") -> None:
        super().__init__("", UNKNOWN, inside)
        self._name, self._known = name, known

    def __str__(self) -> str:
        close = difflib.get_close_matches(self._name, self._known, 1) if len(self._name) <= _MAX_GUESSED else []
        return f" (is {close[0]!r} meant?)" if close else ""


def _walk(reading: Reading, spec: Field | Group, path: str, value: Any, unchecked: bool) -> None:
    """Take one field, or the fields of a group that only holds others."""
    if isinstance(spec, Group) and not spec.setting and value is not None:
        if not isinstance(value, Mapping):
            reading.refuse(path, BadValue("an object is expected", "invalid_type"), value)
            return
        for name, inner in value.items():
            if not reading.is_unknown(name, spec.fields, path):
                _walk(reading, spec.fields[name], f"{path}.{name}", inner, unchecked)
        return
    if spec.setting:
        reading.names[spec.setting] = path
    used, taken = _taken(reading, spec, path, value, unchecked)
    if used and spec.setting:
        reading.given[spec.setting] = taken


def _older(reading: Reading, spec: Field | Group, path: str, value: Any, unchecked: bool) -> None:
    """Take a field at its old place, unless the same object has it at its new one."""
    newer = reading.names.get(spec.setting) if spec.setting else None
    if newer is None:
        _walk(reading, spec, path, value, unchecked)
        return
    other = Reading()
    used, taken = _taken(other, spec, path, value, unchecked)
    if not used or spec.setting not in reading.given or reading.given[spec.setting] != taken:
        reading.refuse(path, BadValue(f"{newer} is in the same object, says something else, and counts"))


def _taken(reading: Reading, spec: Field | Group, path: str, value: Any, unchecked: bool) -> tuple[bool, Any]:
    """Whether a field can be used, and its value as it is used."""
    if value is None:
        return True, None
    if isinstance(spec, Group):
        return _part(reading, spec, path, value, unchecked)
    try:
        if unchecked and (trouble := excess(value)):
            raise BadValue(trouble)
        taken = spec.check(value)
    except BadValue as bad:
        reading.refuse(path, bad, value)
        return False, None
    if isinstance(taken, Partly):
        for each in taken.troubles:
            reading.refuse(path, each)
        if taken.troubles and not taken.value:
            return False, None
        taken = taken.value
    return True, taken


def _part(reading: Reading, group: Group, path: str, value: Any, unchecked: bool) -> tuple[bool, Any]:
    if not isinstance(value, Mapping):
        reading.refuse(path, BadValue("an object or null is expected", "invalid_type"), value)
        return False, None
    values, refused = {}, set()
    for name, inner in value.items():
        if reading.is_unknown(name, group.fields, path):
            refused.add(name)
            continue
        spec = group.fields[name]
        used, taken = _taken(reading, spec, f"{path}.{name}", inner, unchecked)
        if used:
            values[name] = taken
        else:
            refused.add(name)
    return True, Part(values, frozenset(refused))
