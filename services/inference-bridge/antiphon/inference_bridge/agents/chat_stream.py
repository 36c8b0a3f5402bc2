"""The bytes of a streamed `chat/completions` answer as JSON objects. Pure.

Server-sent events as chat servers send them, and as some of them send them wrongly: with comments as signs of life,
`data: null`, empty data, a byte order mark, CR or CRLF line ends, no blank line between two events, no `data:` at all,
the field `error:` of llama.cpp, and no `[DONE]` at the end. What is no JSON object is left out.
"""

from __future__ import annotations

import json
from typing import Any, Final

JsonObject = dict[str, Any]
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DONE: Final = "[DONE]"


class EventDecoder:
    """Puts the events of one stream together from pieces that may end anywhere.

    Owned by the decoder of one answer. It keeps at most one event; `chat_client` bounds how long that is.
    """

    def __init__(self) -> None:
        self.done = False
        """The server has sent `[DONE]`; what comes after it is left out."""
        self._rest = b""
        self._begun = False
        self._data: list[str] = []
        """Lines of `data:` that are no JSON yet."""
        self._is_error = False

    def feed(self, piece: bytes) -> list[JsonObject]:
        """The objects that are complete with this piece."""
        data = self._rest + piece
        if not self._begun:
            if _BYTE_ORDER_MARK.startswith(data[:3]) and len(data) < 3:
                self._rest = data
                return []
            data = data.removeprefix(_BYTE_ORDER_MARK)
            self._begun = True
        held = b""
        if data.endswith(b"\r"):  # its LF may follow
            data, held = data[:-1], b"\r"
        *lines, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = rest + held
        return [value for line in lines for value in self._line(line.decode("utf-8", "replace"))]

    def end(self) -> list[JsonObject]:
        """What the last line and the last event hold that were not ended."""
        rest, self._rest = self._rest.removesuffix(b"\r"), b""
        values = self._line(rest.decode("utf-8", "replace")) if rest else []
        return values + self._event()

    def _line(self, line: str) -> list[JsonObject]:
        if self.done:
            return []
        if not line:
            return self._event()
        if line.startswith(("{", "[")):  # no field name: a proxy has taken it off
            name, value = "data", line
        else:
            name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._is_error = value.strip() == "error"
            return []
        if name == "error":
            found = _parsed(value)
            return [{"error": found or value}]
        if name != "data" or not value.strip():
            return []
        if value.strip() == _DONE:
            values = self._event()
            self.done = True
            return values
        if not self._data and (found := _parsed(value)) is not None:
            return self._found(found)
        self._data.append(value)
        return []

    def _event(self) -> list[JsonObject]:
        """The event ends: its lines are one value, or one each where the server leaves blank lines out."""
        data, self._data = self._data, []
        values: list[JsonObject] = []
        if data:
            whole = _parsed("\n".join(data))
            for found in [whole] if whole is not None else map(_parsed, data[1:]):
                values += self._found(found)
        self._is_error = False
        return values

    def _found(self, value: Any) -> list[JsonObject]:
        if not isinstance(value, dict):
            return []
        if self._is_error and "error" not in value:
            return [{"error": value}]
        return [value]


def _parsed(text: str) -> Any:
    """The JSON value; None for what is none, and for `null`, which means as much."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
