"""Finds function calls that a model writes into its text, and takes them out while the text streams. Pure.

They are never spoken. One of an offered function becomes a call; of any other nothing is left but its name here. Text
is held back only where it may be a call: braces, tags and brackets of other text pass on as soon as they are known.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum, auto
from typing import Final

from antiphon.inference_bridge.agents.call_syntax import (
    KEYS,
    Brackets,
    WrittenCall,
    arguments_of,
    calls_in,
    calls_of,
    lenient,
)
from antiphon.inference_bridge.agents.reasoning import CALL_CHANNEL
from antiphon.inference_bridge.agents.tool_calls import MAX_ARGUMENTS, MAX_CALLS, CallsError, offered

_TAGS: Final = (
    "tool_call",
    "tool_calls",
    "toolcall",
    "toolcalls",
    "tool_use",
    "tool_code",
    "tool_request",
    "tools",
    "use_tool",
    "function_call",
    "function_calls",
    "function",
    "invoke",
    "action",
    "tool_response",
    "tool_result",
    "tool_output",
    "function_results",
)
_RESULTS: Final = ("tool_response", "tool_result", "tool_output", "function_results")
"""Tags around results that the model has made up."""
_BRACKETED: Final = {
    "[tool_calls]": "[/tool_calls]",
    "[tool_call]": "[/tool_call]",
    "[tool_request]": "[end_tool_request]",
    "[function_call]": "[/function_call]",
}
_TAG: Final = re.compile(r"<((?:[a-z]{2,9}:)?([a-z_]+))(?:\s[^<>]*|=[^<>]*)?>")
_TAG_MAY_GROW: Final = re.compile(r"<((?:[a-z]{2,9}:)?[a-z_]*)((?:\s|=)[^<>]*)?$")
_TOKEN: Final = re.compile(
    r"<[|\uff5c]\s?([\w\u2581/-]*(?:tool|python_tag|action|function|call)[\w\u2581/-]*)\s?[|\uff5c]?>"
)
_TOKEN_MAY_GROW: Final = re.compile(r"<[|\uff5c]\s?[\w\u2581/-]*\s?[|\uff5c]?$")
_NAMESPACES: Final = ("antml", "minimax", "mm", "xai", "seed")
_CANDIDATE: Final = re.compile(r"[<\[{`]|[A-Za-z_][\w.]*")
_KEY: Final = re.compile(r"\{\s*[\"'\u201c](\w*)([\"'\u201d]?)")
_FENCE: Final = re.compile(r"```[\w+-]{0,16}[ \t]*\n?\s{0,8}")
_LONGEST: Final = 96
"""Characters that are held back before it is known whether they begin a call."""
_CUT_CALL: Final = re.compile(r"[\"'](?:name|function|tool\w*|arguments|parameters)[\"']\s*:")
_BEHIND: Final = " \t;"


class _Mode(Enum):
    TEXT = auto()
    BLOCK = auto()
    """Between two markers."""
    JSON = auto()
    """In braces or brackets that may be a call."""
    PARENTHESES = auto()
    """Behind a name."""


class _Unsure(Exception):
    """Only the next characters tell whether a call begins."""


class TextCalls:
    """The calls in one answer's text. Owned by the decoder of that answer."""

    def __init__(self, tools: Collection[str]) -> None:
        """`tools`: names of the functions that were offered."""
        self.calls: list[WrittenCall] = []
        """Of functions that were offered."""
        self.unknown: list[str] = []
        """Names of functions that were called and never offered."""
        self.repeats = 0
        """Calls that were written once more: small models do so without end."""
        self.broken = False
        """A call was not complete when the answer ended."""
        self._tools = tools
        self._mode = _Mode.TEXT
        self._held = ""
        self._ends: tuple[str, ...] = ()
        """Any of these ends a block, in lower case."""
        self._is_fence = self._is_result = False
        self._name = ""
        """In front of the parentheses or braces."""
        self._brackets = Brackets()
        self._read = 0
        """Characters of what is held that were searched already."""
        self._last = ""
        """The last character that was passed on or taken out."""
        self._line_is_blank = True
        self._behind_call = False

    def feed(self, text: str) -> str:
        """What of the text is no call."""
        buffer, self._held = self._held + text, ""
        out: list[str] = []
        while buffer:
            if self._mode is _Mode.TEXT:
                buffer = self._text(buffer, out)
                if self._mode is _Mode.TEXT:
                    break
            end = self._end_of_call(buffer)
            if end is None:
                if len(buffer) > MAX_ARGUMENTS:
                    raise CallsError(
                        f"a function call in the text of the answer has more than {MAX_ARGUMENTS} characters"
                    )
                break
            self._take(buffer[:end], out)
            buffer = buffer[end:]
        self._held = buffer
        return "".join(out)

    def end(self, cut: bool) -> str:
        """What is left when the answer has ended. `cut`: by a limit."""
        held, self._held = self._held, ""
        out: list[str] = []
        mode, self._mode = self._mode, _Mode.TEXT
        if mode is _Mode.TEXT:
            begun = held[:1] in "<[" and len(held) > 4 and held[1:2] != " "
            if held and not (begun and not held.endswith((">", "]"))):
                return held
            self.broken = bool(held)
            return ""
        if mode is _Mode.BLOCK:
            self._mode = mode
            self._take(held, out)
            return "".join(out)
        if mode is _Mode.JSON and not cut:
            for closing in ("}", "}}", "}]", "]"):
                if (calls := calls_of(lenient(held + closing), self._tools)) is not None:
                    self._record(calls)
                    return ""
        if _CUT_CALL.search(held) or (mode is _Mode.PARENTHESES and "{" in held):
            self.broken = True
            return ""
        return held

    # ---- text ----------------------------------------------------------------------------------------

    def _text(self, buffer: str, out: list[str]) -> str:
        """Pass text on up to where a call begins or may begin; returns what is left."""
        if self._behind_call:
            buffer = buffer.lstrip(_BEHIND)
            self._behind_call = not buffer
        at = passed = 0
        while (found := _CANDIDATE.search(buffer, at)) is not None:
            self._pass(buffer[passed : found.start()], out)
            passed = at = found.start()
            try:
                begins = self._begins(buffer, found)
            except _Unsure:
                if len(buffer) - passed < _LONGEST:
                    return buffer[passed:]
                begins = False
            if begins:
                self._read = 0
                return buffer[passed:]
            at = found.end() if found[0] not in ("<", "[", "{", "`") else passed + 1
            self._pass(buffer[passed:at], out)
            passed = at
        self._pass(buffer[passed:], out)
        return ""

    def _pass(self, text: str, out: list[str]) -> None:
        if not text:
            return
        out.append(text)
        self._last = text[-1]
        tail = text.rpartition("\n")
        self._line_is_blank = not tail[2].strip() and (bool(tail[1]) or self._line_is_blank)

    def _begins(self, buffer: str, found: re.Match[str]) -> bool:
        """A call begins at this place; the mode says which. `_Unsure` while only the next characters tell."""
        part = buffer[found.start() : found.start() + 4 * _LONGEST]
        match part[0]:
            case "<":
                return self._tag(part)
            case "[":
                return self._bracket(part)
            case "{":
                return self._json(part)
            case "`":
                return self._fence(part)
            case _:
                return self._word(found[0], part)

    def _tag(self, part: str) -> bool:
        lower = part.lower()
        if lower.startswith(CALL_CHANNEL):
            return self._block("<|call|>", "<|end|>", "<|return|>")
        if CALL_CHANNEL.startswith(lower):
            raise _Unsure
        if (token := _TOKEN.match(lower)) is not None:
            name = token[1]
            end = name.replace("begin", "end").replace("start", "end") if "begin" in name or "start" in name else ""
            if end:
                return self._block(f"<|{end}|>", f"<\uff5c{end}\uff5c>")
            return self._block(f"<{name}|>", f"<|/{name}|>", f"</{name}>")
        if lower == "<" or _TOKEN_MAY_GROW.match(lower):
            raise _Unsure
        if (tag := _TAG.match(lower)) is not None:
            if tag[2] not in _TAGS or (tag[2] == "function" and "=" not in tag[0]):
                return False
            self._is_result = tag[2] in _RESULTS
            return self._block(f"</{tag[1]}>")
        if (grows := _TAG_MAY_GROW.match(lower)) is not None:
            name = grows[1].rpartition(":")[2]
            known = name in _TAGS if grows[2] else any(tag.startswith(name) for tag in _TAGS)
            if known or (not grows[2] and any(space.startswith(name) for space in _NAMESPACES)):
                raise _Unsure
        return False

    def _block(self, *ends: str) -> bool:
        self._mode, self._ends = _Mode.BLOCK, ends
        return True

    def _bracket(self, part: str) -> bool:
        lower = part.lower()
        for mark, end in _BRACKETED.items():
            if lower.startswith(mark):
                return self._block(end)
            if mark.startswith(lower):
                raise _Unsure
        inner = part[1:].lstrip()
        if not inner:
            raise _Unsure
        if inner[0] in "{[":
            return self._json(inner[inner.find("{") :] if "{" in inner[:4] else inner)
        word = re.match(r"[A-Za-z_][\w.]*", inner)
        if word is None:
            return False
        if word.end() == len(inner) and self._may_be_tool(word[0]):
            raise _Unsure
        if offered(word[0], self._tools) and inner[word.end() : word.end() + 1] == "(":
            return self._opens(_Mode.JSON, "")
        return False

    def _json(self, part: str) -> bool:
        if part.startswith("["):
            if not part.strip("[ \n\t"):
                raise _Unsure
            return False
        key = _KEY.match(part)
        if key is None:
            if not part[1:].strip():
                raise _Unsure
            return False
        if not key[2]:
            if key.end() == len(part) and (any(k.startswith(key[1]) for k in KEYS) or self._may_be_tool(key[1])):
                raise _Unsure
            return False
        return (key[1] in KEYS or offered(key[1], self._tools) is not None) and self._opens(_Mode.JSON, "")

    def _fence(self, part: str) -> bool:
        if "```".startswith(part):
            raise _Unsure
        opened = _FENCE.match(part)
        if opened is None:
            return False
        language = part[3:].partition("\n")[0].strip().lower()
        inner = part[opened.end() :]
        if language in ("tool_code", "tool_call", "tool_calls", "function_call") and "\n" in part:
            return self._fenced()
        if not inner:
            raise _Unsure
        if inner[0] in "{[":
            begins = self._bracket(inner) if inner[0] == "[" else self._json(inner)
            return begins and self._fenced()
        word = re.match(r"[A-Za-z_][\w.]*", inner)
        if word is not None and word.end() == len(inner) and self._may_be_tool(word[0]):
            raise _Unsure
        return word is not None and offered(word[0], self._tools) is not None and self._fenced()

    def _fenced(self) -> bool:
        self._is_fence = True
        return self._block("```")

    def _word(self, word: str, part: str) -> bool:
        if self._last.isalnum() or self._last in ("_", "."):
            return False  # the rest of a word that was passed on
        behind = part[len(word) :]
        if not behind:
            if self._line_is_blank or self._may_be_tool(word):
                raise _Unsure
            return False
        if offered(word, self._tools):
            opened = re.match(r"[ ]?([({])", behind)
            if opened is not None:
                return self._opens(_Mode.PARENTHESES, word)
            if behind == " ":
                raise _Unsure
        elif self._line_is_blank and behind[0] == "(":
            if re.match(r"\(\s*\{\s*[\"'}]", behind):
                return self._opens(_Mode.PARENTHESES, word)
            if re.fullmatch(r"\(\s*\{?\s*", behind):
                raise _Unsure
        return False

    def _may_be_tool(self, word: str) -> bool:
        """A name that begins with this word may be an offered function's."""
        if any(tool.startswith(word) for tool in self._tools):
            return True
        return word.startswith("functions") or ("functions".startswith(word) and bool(self._tools))

    def _opens(self, mode: _Mode, name: str) -> bool:
        self._mode, self._name, self._brackets = mode, name, Brackets()
        return True

    # ---- calls ---------------------------------------------------------------------------------------

    def _end_of_call(self, buffer: str) -> int | None:
        if self._mode is _Mode.BLOCK:
            lower = buffer.lower()
            since = max(3 if self._is_fence else 1, self._read - 32)
            self._read = len(buffer)
            ends = [(at, at + len(end)) for end in self._ends if (at := lower.find(end, since)) >= 0]
            return min(ends)[1] if ends else None
        since = self._read or len(self._name)
        end = self._brackets.feed(buffer, since)
        self._read = len(buffer)
        return end

    def _take(self, part: str, out: list[str]) -> None:
        """A call, or what has turned out to be none, is complete."""
        mode, self._mode = self._mode, _Mode.TEXT
        is_result, is_fence = self._is_result, self._is_fence
        self._is_result = self._is_fence = False
        if is_result:
            return
        if mode is _Mode.BLOCK:
            calls: list[WrittenCall] | None = calls_in(part, self._tools)
            if is_fence and not calls:
                calls = None
            elif not calls:
                self.broken = True
        elif mode is _Mode.PARENTHESES:
            calls = self._named_call(part)
        elif part.lstrip("[ ").startswith("{") or '"' in part[:4]:
            calls = calls_of(lenient(part), self._tools)
        else:
            calls = calls_in(part, self._tools) or None
        if calls is None:
            self._pass(part, out)
            return
        self._record(calls)
        self._last, self._behind_call = ")", True

    def _named_call(self, part: str) -> list[WrittenCall] | None:
        inner = part[len(self._name) :].strip()
        if inner.startswith("("):
            inner = inner[1:-1]
            if not inner.strip() and not self._line_is_blank:
                return None  # the name of a function in a sentence
        arguments = arguments_of(inner)
        return None if arguments is None else [WrittenCall(self._name, arguments)]

    def _record(self, calls: list[WrittenCall]) -> None:
        for call in calls:
            name = offered(call.name, self._tools)
            if name is None:
                self.unknown.append(call.name)
            elif (own := WrittenCall(name, call.arguments)) in self.calls:
                self.repeats += 1
            else:
                self.calls.append(own)
        if len(self.calls) + len(self.unknown) > MAX_CALLS:
            raise CallsError(f"the answer has more than {MAX_CALLS} function calls")
