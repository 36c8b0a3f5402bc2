"""What `antiphon top` shows: rows of calls and processes, sorted, filtered, and turns as bars. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from antiphon.runtime.operators.processes import Process
from antiphon.schemas.messages import CallSummary, TurnParts

UNKNOWN: Final = "-"
BAR_WIDTH: Final = 40
"""Cells of the longest part."""
MAX_CELL: Final = 40
"""Characters of one cell."""
SORTS: Final = ("age", "round trip", "loss", "lateness", "last turn", "agent", "region")
"""Figures: the greatest first, and calls without the figure last."""


@dataclass(frozen=True)
class Snapshot:
    """All that a source knew at one moment. A value."""

    calls: list[CallSummary] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    total: int = 0
    """Calls that run; more than `calls` where these are cut."""
    incomplete: list[str] = field(default_factory=list)
    """Owners whose calls are missing."""
    at: float = 0.0
    """Unix time."""


class Row(NamedTuple):
    """One call as a table shows it: its cells in the order of `COLUMNS`."""

    call: str
    region: str
    relay: str
    transceiver: str
    agent: str
    state: str
    age: str
    round_trip: str
    loss: str
    lateness: str
    last_turn: str
    parts: str


COLUMNS: Final = (
    "call", "region", "relay", "transceiver", "agent", "state", "age",
    "rtt ms", "loss %", "late ms", "turn ms", "parts",
)  # fmt: skip
PROCESS_COLUMNS: Final = (
    "service", "name", "id", "region", "state", "calls", "late ms", "host", "pid", "version", "trouble",
)  # fmt: skip


def plain(text: str, longest: int = MAX_CELL) -> str:
    """Text of another process, cut, and without characters by which it could steer the terminal."""
    clean = "".join("?" if unicodedata.category(each)[0] in "CZ" and each != " " else each for each in text[:longest])
    return clean[: longest - 1] + "…" if len(text) > longest else clean


def turn_total(parts: TurnParts) -> float | None:
    """Sum of the measured parts, ms; None: nothing is measured."""
    known = measured(parts)
    return sum(value for _, value in known) if known else None


def loss_percent(call: CallSummary) -> float | None:
    """Of the client's packets; None before the first one. More that came twice than were lost count as none lost."""
    expected = call.packets_received + call.packets_lost
    return 100 * max(0, call.packets_lost) / expected if expected > 0 and call.packets_received >= 0 else None


def last_turn_ms(call: CallSummary) -> float | None:
    """Of the caller's wait in the last turn."""
    return turn_total(call.last_turn.parts) if call.last_turn else None


def row_of(call: CallSummary, now: float) -> Row:
    """`now`: Unix time."""
    transceiver = "websocket" if call.kind == "websocket" else f"{call.cluster}.{call.slot}"
    parts = call.last_turn.parts if call.last_turn else TurnParts()
    return Row(
        plain(call.session_id),
        plain(call.region) or UNKNOWN,
        plain(call.relay) or UNKNOWN,
        transceiver,
        plain(call.agent),
        call.state,
        age(now - call.began),
        number(call.round_trip_ms),
        number(loss_percent(call), 1),
        number(call.lateness_ms, 1),
        number(last_turn_ms(call)),
        " ".join(f"{name} {value:.0f}" for name, value in measured(parts)) or UNKNOWN,
    )


def measured(parts: TurnParts) -> list[tuple[str, float]]:
    """(name, ms) of the parts that are known, in order."""
    return list(parts.model_dump(exclude_none=True).items())


def number(value: float | None, digits: int = 0) -> str:
    """A figure, or that there is none."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def age(seconds: float) -> str:
    """`4s`, `3m20s`, `2h05m`. A clock behind the owner's shows 0 s."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole // 60 % 60:02d}m"


def bars(parts: TurnParts, width: int = BAR_WIDTH) -> list[tuple[str, str, float]]:
    """(name, bar, ms) of each known part: a waterfall, each part begins where the one before has ended."""
    known = measured(parts)
    whole = sum(value for _, value in known)
    done, found = 0.0, []
    for name, value in known:
        begin = round(width * done / whole) if whole else 0
        done += value
        end = round(width * done / whole) if whole else 0
        # A short part stays visible, also at the right edge.
        shown = max(end - begin, 1) if value else 0
        begin = min(begin, width - shown)
        found.append((name, " " * begin + "█" * shown, value))
    return found


def ordered(calls: Iterable[CallSummary], sort: str) -> list[CallSummary]:
    """By one of `SORTS`; equal ones in the order of their ids, so that rows keep their places."""
    rows = sorted(calls, key=lambda call: call.session_id)
    if sort == "agent":
        return sorted(rows, key=lambda call: call.agent)
    if sort == "region":
        return sorted(rows, key=lambda call: call.region)

    def figure(call: CallSummary) -> float:
        match sort:
            case "round trip":
                value = call.round_trip_ms
            case "loss":
                value = loss_percent(call)
            case "lateness":
                value = call.lateness_ms
            case "last turn":
                value = last_turn_ms(call)
            case _:
                value = -call.began
        return float("inf") if value is None else -value

    return sorted(rows, key=figure)


def filtered(calls: Iterable[CallSummary], wanted: str) -> list[CallSummary]:
    """Those that have each word somewhere in id, trace id, region, relay, transceiver, agent or state."""
    words = wanted.casefold().split()
    found = []
    for call in calls:
        row = row_of(call, call.began)
        text = " ".join((call.session_id, call.trace_id, call.agent, *row[1:6], call.instance)).casefold()
        if all(word in text for word in words):
            found.append(call)
    return found


def process_cells(process: Process) -> tuple[str, ...]:
    """In the order of `PROCESS_COLUMNS`."""
    load = UNKNOWN if process.taken is None else str(process.taken)
    if process.taken is not None and process.capacity is not None:
        load += f"/{process.capacity}"
    cells = (
        process.service.removeprefix("antiphon-"), process.name, process.id, process.region, process.state, load,
        number(process.lateness_ms, 1), process.host, process.pid, process.version, process.trouble,
    )  # fmt: skip
    return tuple(plain(cell) or UNKNOWN for cell in cells)


def detail_lines(call: CallSummary, now: float) -> list[str]:
    """One call for a person: where it is, its figures, its last turn with a bar for each part, its trace."""
    row, lines = row_of(call, now), []
    lines.append(f"call {row.call}  agent {row.agent} {plain(call.instance)}  {call.state}  age {row.age}")
    lines.append(f"region {row.region}  relay {row.relay}  transceiver {row.transceiver}  path {call.path or UNKNOWN}")
    lines.append(f"owner {plain(call.owner) or UNKNOWN}  moves {call.moves}  trace {plain(call.trace_id) or UNKNOWN}")
    remote = UNKNOWN if call.remote_packets_lost is None else str(call.remote_packets_lost)
    lines.append(
        f"round trip {row.round_trip} ms  jitter {number(call.jitter_ms, 1)} ms  late {row.lateness} ms  "
        f"loss {row.loss} % ({call.packets_lost} of {call.packets_lost + call.packets_received})  "
        f"lost on the way to the client {remote}  frames concealed {call.frames_concealed}"
    )
    if (client := call.client) is not None:
        known = {key: value for key, value in client.model_dump().items() if value not in (None, "")}
        lines.append("client " + "  ".join(f"{key} {plain(str(value))}" for key, value in known.items()))
    if (turn := call.last_turn) is None:
        return [*lines, "", "no turn yet"]
    tools = f"  tools {', '.join(plain(tool) for tool in turn.tools)}" if turn.tools else ""
    lines += [
        "",
        f"turn {turn.number} of {call.turns}: {number(turn_total(turn.parts))} ms, {turn.end or 'runs'}{tools}",
    ]
    lines += [f"{name:<12} {value:7.1f} ms  {bar}" for name, bar, value in bars(turn.parts)]
    return lines


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Plain text, columns as wide as their widest cell; the last one is not filled up."""
    lines = [tuple(columns), *map(tuple, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """For scripts: calls as the HTTP API gives them, with the sums that the table shows."""
    return {
        "at": snapshot.at,
        "total": snapshot.total,
        "incomplete": snapshot.incomplete,
        "calls": [
            {
                **call.model_dump(mode="json"),
                "loss_percent": loss_percent(call),
                "last_turn_ms": last_turn_ms(call),
            }
            for call in snapshot.calls
        ],
        "processes": [asdict(process) for process in snapshot.processes],
    }


def note(snapshot: Snapshot) -> str:
    """What a reader of the table must know: how many calls, how many are not shown, which owners did not answer."""
    text = f"{snapshot.total} call{'' if snapshot.total == 1 else 's'}"
    if snapshot.total > len(snapshot.calls):
        text += f", {len(snapshot.calls)} shown"
    if snapshot.incomplete:
        text += "; no answer from " + ", ".join(plain(each) for each in snapshot.incomplete[:8])
        if len(snapshot.incomplete) > 8:
            text += f" and {len(snapshot.incomplete) - 8} more"
    return text
