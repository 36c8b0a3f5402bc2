"""Puts function calls together from the pieces in which chat servers send them. Pure.

The rules of the wire say: an index for each call, the id and the name once, the arguments bit by bit. Servers give no
index, the same index to all, no id, the same id twice, the name in each piece, arguments as an object or again as a
whole. What belongs together is told by all of these, and by whether the arguments so far are complete JSON.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from antiphon.inference_bridge.agents import FunctionCall
from antiphon.inference_bridge.agents.chat_deltas import CallPiece

MAX_CALLS: Final = 32
"""Function calls in one answer."""
MAX_ARGUMENTS: Final = 64 * 1024
"""Characters of the arguments of all function calls of an answer."""
MAX_NAME: Final = 64
"""Characters of a function's name, and of a call's id."""
_NAMESPACES: Final = ("functions.", "functions:", "function.", "tools.", "tool.", "default_api.", "default_tool.")


class CallsError(Exception):
    """The calls of an answer go beyond the bounds."""


@dataclass
class _Call:
    index: int | None
    call_id: str
    name: str
    arguments: str
    pieces: int = 0

    @property
    def is_complete(self) -> bool:
        return is_json_object(self.arguments)


class CallAssembler:
    """The function calls of one answer. Owned by the decoder of that answer."""

    def __init__(self, tools: Collection[str]) -> None:
        """`tools`: names of the functions that were offered; calls of others are left out."""
        self._tools = tools
        self._calls: list[_Call] = []
        self._characters = 0

    def __len__(self) -> int:
        return len(self._calls)

    def collect(self, pieces: Sequence[CallPiece]) -> None:
        """The pieces of one chunk; `CallsError` beyond the bounds."""
        touched: list[_Call] = []
        for place, piece in enumerate(pieces):
            index = piece.index
            if index is None and len(pieces) > 1:
                index = place
            call = self._continued(piece, index, touched)
            if call is None:
                if not (piece.name or piece.call_id or piece.arguments):
                    continue
                call = _Call(index, piece.call_id[:MAX_NAME], "", "")
                self._calls.append(call)
                if len(self._calls) > MAX_CALLS:
                    raise CallsError(f"the answer has more than {MAX_CALLS} function calls")
            touched.append(call)
            self._add(call, piece)

    def complete(self, known_ids: Collection[str]) -> list[FunctionCall]:
        """Those of functions that were offered, when the answer has ended. `known_ids`: of earlier calls."""
        taken = set(known_ids)
        calls = []
        for call in self._calls:
            name = offered(call.name, self._tools)
            if name is None:
                continue
            call_id = call.call_id
            if not call_id or call_id in taken:
                call_id = new_id()
            taken.add(call_id)
            calls.append(FunctionCall(call_id, name, call.arguments or "{}"))
        return calls

    @property
    def unknown(self) -> list[str]:
        """Names of functions that were called and never offered."""
        return [call.name for call in self._calls if offered(call.name, self._tools) is None]

    def _continued(self, piece: CallPiece, index: int | None, touched: list[_Call]) -> _Call | None:
        """The call that this piece goes on with; None if it begins another one."""
        if piece.index is None and index is None:
            candidates = self._calls[-1:]
        else:
            candidates = [call for call in self._calls if call.index == index][-1:]
        if piece.call_id:
            known = [call for call in self._calls if call.call_id == piece.call_id]
            if known and (piece.index is None or known[-1].index in (None, piece.index)):
                candidates = known[-1:]
        for call in candidates:
            if call in touched and (piece.name or piece.call_id):
                return None
            if not self._begins(call, piece):
                return call
        return None

    def _begins(self, call: _Call, piece: CallPiece) -> bool:
        """A piece at the place of this call begins another one."""
        other_id = bool(piece.call_id and call.call_id and piece.call_id != call.call_id)
        if not piece.name:
            return other_id and call.is_complete and bool(piece.arguments)
        if not call.name:
            return False
        if other_id:
            return True
        if piece.name == call.name:  # repeated in each piece, or called twice
            again = call.is_complete and piece.arguments not in ("", call.arguments)
            return again and not _is_placeholder(call.arguments)
        whole = call.name + piece.name
        if offered(call.name, self._tools) is None and not call.arguments:
            # a name in pieces, or, where that is none either, another name
            grows = any(tool.startswith(whole) for tool in self._tools)
            return not grows and offered(piece.name, self._tools) is not None
        return not (not call.arguments and offered(whole, self._tools) and offered(piece.name, self._tools) is None)

    def _add(self, call: _Call, piece: CallPiece) -> None:
        call.pieces += 1
        call.call_id = call.call_id or piece.call_id[:MAX_NAME]
        if piece.name and piece.name != call.name:
            call.name += piece.name
        if len(call.name) > MAX_NAME:
            raise CallsError(f"a function's name in the answer has more than {MAX_NAME} characters")
        before = len(call.arguments)
        if piece.arguments:
            call.arguments = _joined(call.arguments, piece.arguments)
        self._characters += max(0, len(call.arguments) - before)
        if self._characters > MAX_ARGUMENTS:
            raise CallsError(f"the function calls of the answer have more than {MAX_ARGUMENTS} characters")


def _joined(so_far: str, more: str) -> str:
    """The arguments with one more piece: a server may send them all again at the end, or begin with a placeholder."""
    if not so_far or (_is_placeholder(so_far) and more.lstrip().startswith("{")):
        return more
    if is_json_object(so_far) and is_json_object(more):
        return more
    if so_far.startswith("{") and len(so_far) > 1 and more.startswith(so_far):
        return more
    return so_far + more


def _is_placeholder(arguments: str) -> bool:
    return arguments.strip() in ("", "{}", "null", '""')


def is_json_object(text: str) -> bool:
    """Whether these are complete arguments."""
    text = text.strip()
    if not text.startswith("{") or not text.endswith("}"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def offered(name: str, tools: Collection[str]) -> str | None:
    """The offered function that a model means by this name; None if it means none of them."""
    name = name.strip()
    if name in tools:
        return name
    for namespace in _NAMESPACES:
        if name.startswith(namespace):
            name = name.removeprefix(namespace)
            break
    head, _, number = name.rpartition(":")
    if number.isdecimal():  # `functions.look:0` of Kimi
        name = head
    return name if name in tools else None


def names_of(tools: Iterable[dict[str, Any]]) -> frozenset[str]:
    """The names of a request's tools."""
    return frozenset(str(tool["name"]) for tool in tools if tool.get("name"))


def new_id() -> str:
    """An id for a call that has none of its own."""
    return f"call_{uuid.uuid4().hex[:24]}"
