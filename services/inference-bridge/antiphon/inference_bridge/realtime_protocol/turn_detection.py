"""How the turns of a session end: what a client may set, and what of it the turn detector is set to. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from antiphon.inference_bridge.realtime_protocol.errors import tagged
from antiphon.inference_bridge.realtime_protocol.fields import Part
from antiphon.inference_bridge.realtime_protocol.values import BadValue
from antiphon.inference_bridge.turns.turn_settings import TurnSettings

LEAST_THRESHOLD: Final = 0.2
MOST_THRESHOLD: Final = 0.95
"""Of the detector. Clients may send 0 to 1, as published. Speech lasts down to 0.15 below the threshold, so with less
than 0.15 it would never end, and no window reaches 1: both ends of the scale are set to what works."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ServerVad(_Part):
    """Turns end after a silence of fixed length. A value."""

    type: Literal["server_vad"] = "server_vad"
    threshold: float | None = Field(default=None, ge=0, le=1)
    prefix_padding_ms: int | None = Field(default=None, ge=0, le=2000)
    silence_duration_ms: int | None = Field(default=None, ge=96, le=10_000)
    idle_timeout_ms: int | None = Field(default=None, ge=1000, le=60_000)
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(_Part):
    """Turns end sooner or later, depending on whether the words sound complete. A value."""

    type: Literal["semantic_vad"] = "semantic_vad"
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection = Annotated[
    Annotated[ServerVad, Tag("tag:server_vad")] | Annotated[SemanticVad, Tag("tag:semantic_vad")],
    Discriminator(tagged("type")),
]
_MODELS: Final[dict[str, type[ServerVad] | type[SemanticVad]]] = {
    "server_vad": ServerVad,
    "semantic_vad": SemanticVad,
}


def changed_detection(
    before: ServerVad | SemanticVad | None, part: Part | None, refuse: Callable[[str, BadValue, Any], None]
) -> ServerVad | SemanticVad | None:
    """The turn detection after a client's update of it. `refuse(name, why, value)`: a field is of no use in it.

    A field that is not named stays, as long as the type does; null is the default.
    """
    if part is None:
        return None
    if before is None and "type" in part.refused:
        for name, value in part.values.items():
            refuse(name, BadValue("turn detection is off, and the type that would switch it on is refused"), value)
        return None
    if part.is_useless:
        return before
    kind = part.values.get("type") or (before.type if before else "server_vad")
    model = _MODELS[kind]
    kept = before.model_dump() if before is not None else {}
    values = {name: value for name, value in kept.items() if name in model.model_fields and name != "type"}
    for name, value in part.values.items():
        if name == "type":
            continue
        if name in model.model_fields:
            values[name] = model.model_fields[name].default if value is None else value
        elif value is not None:
            refuse(name, BadValue(f"it means nothing with {kind}, which is in force"), value)
    return model(**values)


def detector_settings(detection: ServerVad | SemanticVad | None, base: TurnSettings) -> TurnSettings | None:
    """For the detector; None if the client ends the turns. `base`: the operator's defaults."""
    if detection is None:
        return None
    if isinstance(detection, SemanticVad):
        patience, longest_ms = _EAGERNESS[detection.eagerness]
        return replace(base, semantic=True, patience=patience, longest_ms=longest_ms)
    silence = base.silence_ms if detection.silence_duration_ms is None else detection.silence_duration_ms
    padding = base.preroll_ms if detection.prefix_padding_ms is None else detection.prefix_padding_ms
    threshold = base.threshold
    if detection.threshold is not None:
        threshold = min(MOST_THRESHOLD, max(LEAST_THRESHOLD, detection.threshold))
    return replace(
        base,
        threshold=threshold,
        silence_ms=silence,
        speculate_ms=min(base.speculate_ms, silence),
        preroll_ms=padding,
        judged=base.judged and detection.silence_duration_ms is None,  # a client that names a silence gets it
    )


def shown_detection(detection: ServerVad | SemanticVad | None, base: TurnSettings) -> dict[str, Any] | None:
    """As a session shows it: with the operator's values where the client has named none."""
    if not isinstance(detection, ServerVad):
        return detection.model_dump() if detection else None
    turns = detector_settings(detection, base)
    assert turns is not None
    return {
        **detection.model_dump(),
        "threshold": turns.threshold if detection.threshold is None else detection.threshold,
        "prefix_padding_ms": turns.preroll_ms,
        "silence_duration_ms": turns.silence_ms,
    }


_EAGERNESS: Final[dict[str, tuple[float, int]]] = {
    # How many times as long a silence is awaited as by default, and the longest one, after words that ask for more.
    "high": (0.75, 2000),
    "medium": (1.25, 4000),
    "auto": (1.25, 4000),
    "low": (2.0, 8000),
}
