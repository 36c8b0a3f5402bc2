"""Takes a model's thoughts and control markers out of its text while it streams. Pure.

Text is held back only where it may be a marker, and where the answer begins as thoughts do whose opening marker was the
template's, so that only the closing one will come (`template_opens`). An unclosed block is never passed on.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from antiphon.inference_bridge.agents.markers import STARTS, Kind, Marker, MoreNeeded, marker_at

MAX_HELD: Final = 16_000
"""Characters that may be thoughts, or an answer inside of them, and are held back; what is beyond is left out."""
CALL_CHANNEL: Final = "<|channel|>commentary to="
"""Begins a function call of harmony, which is passed on with its markers."""
_HEADER: Final = 128
"""Characters of a channel's or a role's name and what stands beside it."""
_MESSAGE: Final = re.compile(r"<\|message\|>", re.IGNORECASE)
_NAME: Final = re.compile(r"\s*([a-zA-Z_]*)(?:[ ]+to=([\w.:-]+))?\s?")
_FINAL: Final = ("final", "response", "answer", "output", "content", "text")
_ROLES: Final = ("assistant", "model", "user", "system", "tool", "developer")

_BEGINNINGS: Final = (
    "",
    "okay, ",
    "okay so ",
    "okay, so ",
    "ok, ",
    "ok so ",
    "alright, ",
    "alright, so ",
    "so ",
    "so, ",
    "hmm, ",
    "now, ",
    "first, ",
)
_PERSONS: Final = ("the user", "the caller", "the customer", "the human", "user", "caller")
_DO: Final = (
    " want", " ask", " is ask", " has ask", " just ", " say", " said", " is say", " need", " seem", " greet",
    " is greet", " request", " is request", " would like", " mention", "'s question",
    "'s request", "'s message", "'s last",
)  # fmt: skip
_THOUGHTS: Final = (
    *("".join(words) for words in itertools.product(_BEGINNINGS, _PERSONS, _DO)),
    *("".join(words) for words in itertools.product(_BEGINNINGS, ("i need to figure", "i need to respond"))),
    "we need to answer",
    "we need to respond",
    "we need to reply",
    "we need to output",
    "we need to produce",
    "thinking process",
    "here's a thinking process",
    "here's my thought process",
    "here is my thought process",
    "let's think step by step",
    "let me think step by step",
)
"""How thoughts begin and answers to a caller do not."""
_STRIPPED: Final = "analysis"
"""How harmony's thoughts begin where the server has taken the markers off: the first word follows without a blank."""
_STRIPPED_END: Final = "assistantfinal"


class Naming(Enum):
    """What name is read after a marker."""

    NO = auto()
    ROLE = auto()
    HARMONY = auto()
    """Of a channel, up to `<|message|>`."""
    GEMMA = auto()
    """Of a channel, one word."""


class ReasoningFilter:
    """One answer's text, without thoughts and markers. Owned by the decoder of that answer."""

    def __init__(self, template_opens: bool = False) -> None:
        """`template_opens`: an earlier answer of this model had only a closing marker: this one begins in thoughts."""
        self.only_closed = False
        """The answer had a closing marker whose opening one did not come."""
        self._held = ""
        """May be a marker."""
        self._doubt = ""
        """Visible unless a closing marker follows."""
        self._doubts: bool | None = True if template_opens else None
        """The beginning is in doubt; None while it is too short to say."""
        self._depth = 0
        """Blocks of thoughts that are open."""
        self._closed = False
        """A block has been closed."""
        self._after_closed: list[str] = []
        """Text behind a closing marker inside of thoughts: an answer if no further one comes."""
        self._naming = Naming.NO
        self._recipient = ""
        """Of the message whose role was named last: the function that it calls."""
        self._out: list[str] = []
        """What is visible of the piece that is read."""
        self._last = ""
        """The last character that was read."""
        self._in_channel = False
        self._call = False
        """A harmony channel that is a function call: passed on with its markers, for `text_calls`."""
        self._stripped = False
        self._began = False
        """Something visible was passed on or is in doubt."""
        self._passed = False

    def separated(self) -> None:
        """The server sends thoughts in a field of their own, so none are in doubt here."""
        if self._doubts is None and not self._doubt:
            self._doubts = False

    def feed(self, text: str) -> tuple[str, bool]:
        """What is visible of the text so far; and whether all text before it turned out to be thoughts."""
        was_passed = self._passed
        buffer, self._held = self._held + text, ""
        out = self._out = []
        retracted = False
        at = 0
        while at < len(buffer):
            if self._naming is not Naming.NO:
                behind = self._read_name(buffer, at)
                if behind is None:
                    break
                at = behind
                continue
            start = STARTS.search(buffer, at)
            until = start.start() if start else len(buffer)
            if until > at:
                self._text(buffer[at:until], out)
                at = until
                continue
            before = buffer[at - 1] if at else self._last
            found = None if before == "`" else marker_at(buffer, at)
            if isinstance(found, MoreNeeded):
                break
            if found is None:
                self._text(buffer[at], out)
                at += 1
            else:
                retracted = self._marker(found, buffer[at : found.end], out) or retracted
                at = found.end
        self._last = buffer[at - 1] if at else self._last
        self._held = buffer[at:]
        return "".join(out), retracted and was_passed

    def end(self, cut: bool) -> str:
        """What is visible of the rest. `cut`: the answer was ended by a limit, perhaps in the middle of thoughts."""
        out: list[str] = []
        held, self._held = self._held, ""
        if (
            held and self._naming is not Naming.NO
        ):  # a channel without its end marker: its name may be read all the same
            name = _NAME.match(held)
            assert name is not None
            held = held[name.end() :] if name[1].lower() in _FINAL else ""
        if held:
            self._text(held, out)
        if self._depth:
            return "" if cut else "".join(self._after_closed).lstrip()
        doubt, self._doubt = self._doubt, ""
        if self._doubts is not False and not cut and not self._stripped:
            out.insert(0, doubt)
        return "".join(out)

    @property
    def closed(self) -> bool:
        """The end of thoughts was marked."""
        return self._closed

    # ---- text ----------------------------------------------------------------------------------------

    def _text(self, text: str, out: list[str]) -> None:
        if self._depth:
            if self._after_closed and sum(map(len, self._after_closed)) < MAX_HELD:
                self._after_closed.append(text)
            return
        if not self._began:
            text = text.lstrip()
            if not text:
                return
            self._began = True
        if self._doubts is not False:
            text = self._sure(text)
        if text:
            self._passed = True
            out.append(text)

    def _sure(self, text: str) -> str:
        """What is no longer in doubt of the beginning of the answer."""
        self._doubt += text
        if self._doubts is None:
            start = self._doubt[:64].lower().replace("\u2019", "'")
            if start.startswith(_STRIPPED) and self._doubt[len(_STRIPPED) : len(_STRIPPED) + 1].isupper():
                self._doubts = self._stripped = True
            elif any(start.startswith(thought) for thought in _THOUGHTS):
                self._doubts = True
            elif not any(thought.startswith(start) for thought in (*_THOUGHTS, _STRIPPED)):
                self._doubts = False
        if self._stripped and (end := self._doubt.find(_STRIPPED_END)) >= 0:
            self._doubt = self._doubt[end + len(_STRIPPED_END) :].lstrip()
            self._doubts = self._stripped = False
        if self._doubts is False:
            certain, self._doubt = self._doubt, ""
            return certain
        if len(self._doubt) > MAX_HELD:
            self._doubt = self._doubt[-len(_STRIPPED_END) :] if self._stripped else ""
            if not self._stripped:
                self._doubts, self._depth = False, 1
        return ""

    # ---- markers -------------------------------------------------------------------------------------

    def _marker(self, found: Marker, raw: str, out: list[str]) -> bool:
        """Act on a marker; True if what came before it were thoughts."""
        if self._call:
            self._call = found.kind is not Kind.END
            if found.kind in (Kind.CHANNEL, Kind.HEADER):
                self._call = False
            else:
                out.append(raw)
                return False
        match found.kind:
            case Kind.THINK:
                if self._depth == 0:
                    self._settle(out)
                self._depth += 1
                self._after_closed = []
            case Kind.END_THINK:
                return self._end_thoughts(out)
            case Kind.CHANNEL:
                self._settle(out)
                self._naming = Naming.HARMONY if found.name.endswith("|") else Naming.GEMMA
                self._in_channel = True
            case Kind.HEADER:
                self._naming = Naming.ROLE
            case Kind.END if self._in_channel:
                self._depth = 0
            case Kind.TOOL if not self._depth:
                self._settle(out)
                self._began = self._passed = True
                out.append(raw)
        return False

    def _settle(self, out: list[str]) -> None:
        """A marker says what the beginning is not: it need not be doubted any more."""
        if self._doubts is not False and not self._stripped:
            self._doubts = False
            if self._doubt:
                out.append(self._doubt)
                self._passed = True
            self._doubt = ""

    def _end_thoughts(self, out: list[str]) -> bool:
        if self._depth:
            self._depth -= 1
            self._closed = True
            self._after_closed = [""] if self._depth else []
            if not self._passed:
                self._began = False  # blanks between thoughts and the answer
            return False
        if self._closed:
            return False  # one too many
        self.only_closed, self._closed = True, True
        self._doubts, self._doubt, self._stripped = False, "", False
        self._began = self._passed = False
        out.clear()
        return True

    def _read_name(self, buffer: str, at: int) -> int | None:
        """Read a channel's or a role's name; returns the place behind it, None while it is not complete."""
        part = buffer[at : at + _HEADER]
        short = len(part) < _HEADER
        if self._naming is Naming.HARMONY:
            if (ended := _MESSAGE.search(part)) is not None:
                self._enter(part[: ended.start()])
                return at + ended.end()
            if short and "\n" not in part:
                return None
        name = _NAME.match(part)
        assert name is not None
        if name.end() == len(part) and short:
            return None
        if self._naming is Naming.ROLE:
            role = name[1].lower()
            self._recipient = name[2] or ""
            self._naming = Naming.NO
            return at + name.end() if role in _ROLES else at
        label = name[1].lower()
        final = next((final for final in _FINAL if label.startswith(final)), "")
        if final and name[1][len(final) : len(final) + 1].isupper():  # no blank behind it
            self._enter(final)
            return at + name.start(1) + len(final)
        self._enter(name[1])
        return at + name.end()

    def _enter(self, name: str) -> None:
        """A channel begins: thoughts, words for the caller, or a function call."""
        self._naming = Naming.NO
        recipient = re.search(r"to=\s*([\w.:-]+)", name)
        to = recipient[1] if recipient else self._recipient
        self._recipient = ""
        label = name.strip().lower()
        self._depth = 0
        if to and to != "assistant":
            self._call = True
            self._text(f"{CALL_CHANNEL}{to}<|message|>", self._out)
        elif not label.startswith((*_FINAL, "commentary")):
            self._depth = 1
            self._after_closed = []


def visible(pieces: Iterable[str], template_opens: bool = False, cut: bool = False) -> str:
    """All that is left of an answer that came in these pieces."""
    thoughts = ReasoningFilter(template_opens)
    text = ""
    for piece in pieces:
        more, retracted = thoughts.feed(piece)
        text = more if retracted else text + more
    return text + thoughts.end(cut)
