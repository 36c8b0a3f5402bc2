"""The tools that an agent itself has run in a conversation: calls and outputs, as items among those on record. Pure.

The record of a call holds what was said, and the calls that the client answered. What the agent ran itself is kept
here, behind the item that it was asked about, so that a model sees in later turns what it has done already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from antiphon.inference_bridge.agents import FunctionCall
from antiphon.inference_bridge.realtime_protocol.conversation import JsonObject, message

MAX_RUNS: Final = 16
"""Answers with tools that are kept; the newest."""
MAX_CHARACTERS: Final = 64 * 1024
"""Of all that is kept; the oldest go."""
MAX_SAVED: Final = 6000
"""Characters that go along to another process; the newest."""
_MAX_ANCHORS: Final = 4
"""Items before the calls, by any of which their place is found again: a client may delete some."""
_SAVED_OUTPUT: Final = 1000
"""Characters of an output that goes along."""


def call_items(said: str, calls: Sequence[FunctionCall], outputs: Sequence[str]) -> list[JsonObject]:
    """What a model has said, the functions that it has called, and what they gave, as items."""
    items: list[JsonObject] = []
    if said.strip():
        items.append(message("said", "assistant", "completed", {"type": "output_text", "text": said.strip()}))
    for call in calls:
        called: JsonObject = {"id": call.call_id, "type": "function_call", "call_id": call.call_id}
        items.append({**called, "name": call.name, "arguments": call.arguments})
    for call, output in zip(calls, outputs, strict=True):
        gave: JsonObject = {"id": f"{call.call_id}_output", "type": "function_call_output", "call_id": call.call_id}
        items.append({**gave, "output": output})
    return items


@dataclass
class _Run:
    """The calls of one answer."""

    anchors: list[str]
    """Ids of the items in front of it, the nearest first."""
    items: list[JsonObject]

    @property
    def characters(self) -> int:
        return sum(len(str(item.get("arguments", ""))) + len(str(item.get("output", ""))) for item in self.items)


class ToolMemory:
    """Owned by a call's agent, for as long as the call; used on the event loop."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def remember(self, before: Sequence[JsonObject], calls: Sequence[FunctionCall], outputs: Sequence[str]) -> None:
        """These calls were made about the last of the items `before`."""
        if not calls:
            return
        anchors = [str(item["id"]) for item in before[: -_MAX_ANCHORS - 1 : -1] if item.get("id")]
        items = call_items("", calls, outputs)
        if self._runs and self._runs[-1].anchors[:1] == anchors[:1]:
            self._runs[-1].items += items
        else:
            self._runs.append(_Run(anchors, items))
        while len(self._runs) > MAX_RUNS or (len(self._runs) > 1 and self._characters() > MAX_CHARACTERS):
            del self._runs[0]

    def merged(self, items: Sequence[JsonObject]) -> list[JsonObject]:
        """The items on record with what is kept here at its places; not what the record has itself."""
        known = {str(item.get("call_id")) for item in items if item.get("type") == "function_call"}
        merged = list(items)
        for run in self._runs:
            new = [item for item in run.items if item["call_id"] not in known]
            places = {str(item.get("id")): at for at, item in enumerate(merged)}
            anchor = next((each for each in run.anchors if each in places), None)
            # of a place that is gone: before what the caller has said last
            at = places[anchor] + 1 if anchor is not None else max(0, len(merged) - 1)
            merged[at:at] = new
        return merged

    def saved(self) -> list[Any]:
        """For another process: plain JSON, of which `restore` makes the same."""
        saved: list[Any] = []
        room = MAX_SAVED
        for run in reversed(self._runs):
            items = [
                {**item, "output": item["output"][:_SAVED_OUTPUT]} if "output" in item else item for item in run.items
            ]
            room -= sum(len(str(item)) for item in items)
            if room < 0:
                break
            saved.append([run.anchors, items])
        return saved[::-1]

    def restore(self, saved: Any) -> None:
        """Take up what another process has saved; what is no such thing is left out."""
        for each in saved if isinstance(saved, list) else []:
            match each:
                case [list(anchors), list(items)] if all(isinstance(i, dict) and "call_id" in i for i in items):
                    self._runs.append(_Run([str(anchor) for anchor in anchors], items))
        del self._runs[:-MAX_RUNS]

    def _characters(self) -> int:
        return sum(run.characters for run in self._runs)
