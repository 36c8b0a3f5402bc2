"""Puts the answers of all owners of calls together to one page. Pure: answers in, a page out.

An owner is believed about its own calls only as far as its answer holds together: sorted, of the page that was asked
for, with counts that can be. What does not is left out, and its owner is missing then.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from antiphon.schemas import MalformedError, messages

MAX_OWNERS: Final = 1024
"""Answers of one listing; further ones are left out, and the page says that it is incomplete."""


class ExpectedOwner(NamedTuple):
    """An owner that is known to be there. A value."""

    name: str
    """For people, where it does not answer: `transceiver 0.3`."""
    ids: frozenset[str] = frozenset()
    """Its ids in the services register, where they are known."""
    slots: frozenset[tuple[int, int]] = frozenset()
    """(cluster, slot) pairs that it announces: one process may hold several."""

    def is_author(self, answer: messages.CallList, known: frozenset[str]) -> bool:
        """Whether this answer is its own. `known`: ids of all expected owners that have some.

        The slot tells only where the id does not: owners of calls over WebSocket have none, and send 0.
        """
        if answer.owner in known:
            return answer.owner in self.ids
        return (answer.cluster, answer.slot) in self.slots


@dataclass(frozen=True)
class CallPage:
    """One page of the calls that run. A value."""

    calls: list[messages.CallSummary] = field(default_factory=list)
    """In the order of their ids."""
    total: int = 0
    """Calls from this page on, as far as owners have answered."""
    more: bool = False
    """There are calls behind the page: ask again after its last one."""
    incomplete: list[str] = field(default_factory=list)
    """Owners whose calls are missing."""
    regions: list[str] = field(default_factory=list)
    """Of the owners that have answered; the empty name where regions have none."""


def owners_of(transceivers: Collection[messages.TransceiverAnnouncement]) -> list[ExpectedOwner]:
    """The processes behind these announcements: one that took over announces several slots."""
    held: dict[str, list[tuple[int, int]]] = {}
    for each in transceivers:
        key = each.holder or f"{each.cluster}.{each.slot}"
        held.setdefault(key, []).append((each.cluster, each.slot))
    return [
        ExpectedOwner(f"transceiver {slots[0][0]}.{slots[0][1]}", slots=frozenset(slots))
        for slots in map(sorted, held.values())
    ]


class CallGathering:
    """The answers to one request. Owner: `gather_calls`, for its duration."""

    def __init__(self, asked: messages.ListCalls, expected: Collection[ExpectedOwner]) -> None:
        self._asked = asked
        self._missing = list(expected)
        self._known = frozenset(known for owner in expected for known in owner.ids)
        self._answers: dict[str, messages.CallList] = {}
        self._overfull = False

    @property
    def complete(self) -> bool:
        """Every owner that was expected has answered."""
        return not self._missing

    @property
    def answered(self) -> int:
        """Owners whose answers were taken."""
        return len(self._answers)

    def found(self, session_id: str) -> bool:
        """Whether an answer has this call."""
        return any(call.session_id == session_id for answer in self._answers.values() for call in answer.calls)

    def take(self, data: bytes) -> bool:
        """One answer; False if it is none, does not hold together, or its owner has answered already."""
        try:
            answer = messages.decode(data, messages.CallList)
        except MalformedError:
            return False
        if not answer.owner or answer.owner in self._answers or not self._holds_together(answer):
            return False
        if len(self._answers) >= MAX_OWNERS:
            self._overfull = True
            return False
        self._answers[answer.owner] = answer
        self._missing = [owner for owner in self._missing if not owner.is_author(answer, self._known)]
        return True

    def _holds_together(self, answer: messages.CallList) -> bool:
        asked, ids = self._asked, [call.session_id for call in answer.calls]
        if len(ids) > asked.limit or not len(ids) <= answer.total or (answer.total > 0 and not ids):
            return False
        if any(first >= second for first, second in zip([asked.after, *ids], ids, strict=False)):
            return False
        wanted = frozenset(asked.session_ids)
        return all(
            (not wanted or call.session_id in wanted)
            and (not asked.agent or call.agent == asked.agent)
            and call.owner == answer.owner
            for call in answer.calls
        )

    def page(self) -> CallPage:
        """What has come so far. A call that two owners have, because it has just moved, counts where it moved to."""
        found: dict[str, messages.CallSummary] = {}
        doubled = 0
        for answer in self._answers.values():
            for call in answer.calls:
                known = found.get(call.session_id)
                doubled += known is not None
                if known is None or call.moves > known.moves:
                    found[call.session_id] = call
        cut = [each.calls[-1].session_id for each in self._answers.values() if len(each.calls) < each.total]
        # Behind the last call of an owner that has more, its next ones would be missing.
        ids = sorted(each for each in found if not cut or each <= min(cut))
        page = ids[: self._asked.limit]
        total = sum(answer.total for answer in self._answers.values()) - doubled
        incomplete = [owner.name for owner in self._missing]
        if self._overfull:
            incomplete.append(f"owners beyond the first {MAX_OWNERS}")
        return CallPage(
            calls=[found[each] for each in page],
            total=total,
            more=len(page) < total,
            incomplete=incomplete,
            regions=sorted({answer.region for answer in self._answers.values()}),
        )
