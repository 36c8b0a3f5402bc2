"""A reply's text, as it streams in, cut into clauses that are spoken one by one. Pure.

The first clause is cut as early as possible, because the caller waits for it; later ones are whole sentences, which
sound better and are synthesised while the earlier ones play. A clause never ends inside of what is read as one:
"Dr. Smith", "3. Mai", "10 a.m. tomorrow", "November 3, 2026", "code: 4821", "555 123 4567", a link of Markdown.
"""

from __future__ import annotations

import re
from typing import Final

from antiphon.inference_bridge.tts.clause_ends import goes_on

_CLOSING: Final = r"['\")\]*_”’»]*"
_FIRST_CUT: Final = re.compile(rf"[,;:.!?]{_CLOSING}\s+|[。！？।؟]{_CLOSING}\s*|\n+")
_SENTENCE_CUT: Final = re.compile(rf"[.!?]{_CLOSING}\s+|[。！？।؟]{_CLOSING}\s*|\n+")
_LONG_CUT: Final = re.compile(r"[,;:]\s+|[，、；：]")
_ABBREVIATION: Final = re.compile(
    r"(?:(?<![\w'’])(?:Mr|Mrs|Ms|Messrs|Dr|Dra|Prof|St|Ste|Mt|Ft|Gov|Sen|Rep|Gen|Col|Capt|Lt|Sgt|Rev|Hon|Jr|Sr|Sra|Srta"
    r"|Mme|Mlle|Sig|Dott|Ing|Avv|Hr|vs|approx|e\.g|i\.e|ca|cf|viz|bzw|inkl|evtl|ggf|Str|Mio|Mrd|Uds?|núm|pág|Avda"
    r"|dept|appt|apt|Apt|Ave|Blvd|Rd|Inc|Ltd|Co|Corp|Bros|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Okt|Nov|Dec|Dez"
    r"|Mon|Tues?|Wed|Thurs?|Fri|incl|excl|max|avg|est|ext|tel|Tel|tél|Nr|pp|(?:[A-Za-z]\.){1,4}[A-Za-z]|[A-Za-z]"
    r"|p\.\s?(?:ej|ex)|EE\.\s?UU))\.$"
)
"""Ends an abbreviation behind which a sentence goes on."""
_BEFORE_NUMBER: Final = re.compile(
    r"(?<!\w)(?:[Nn]os?|nr|[Pp]|[Ff]igs?|[Aa]rt|[Vv]ol|[Cc]h|[Ss]ec|[Ee]q|n|pag|[Aa]bs|ft|in|oz|lbs?|hrs?|mins?|yrs?)\.$"
)
"""Ends an abbreviation only if a number follows."""
_MAY_END: Final = re.compile(r"(?<!\w)(?:etc|usw|ecc|al)\.$|\d\s?(?:ft|in|oz|lbs?|hrs?|mins?|yrs?)\.$")
"""Ends an abbreviation that may end a sentence too: then a capital follows."""
_LIST_NUMBER: Final = re.compile(r"(?:^|\n)[ \t>*_(-]*\d{1,3}[.)]\s+$")
_NUMBER_END: Final = re.compile(r"\d\.\s*$")
_GERMAN_MONTH: Final = re.compile(r"(?:Jan|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez)")
_GERMAN_ORDINAL: Final = re.compile(
    r"(?:\b(?:am|der|die|das|dem|den|des|vom|zum|zur|beim|ab|bis|seit|im|jede[rnsm]?|(?:k?ein|mein|dein|sein|ihr|unser)"
    r"(?:e[rnsm]?)?|und|oder|-)\s*\d{1,3}|\b[IVX]+)\.\s$",
    re.IGNORECASE,
)
_GOES_ON_WITH_NUMBER: Final = re.compile(r"[+(]?[$€£¥₹]?\d|ext\b|x\d")
_LONGEST_END: Final = 16
"""Characters, more than any abbreviation has, so that each full stop costs the same."""
LONG_CLAUSE: Final = 60
"""Characters after which a later clause may end at a comma."""
MAX_CLAUSE: Final = 240
"""Characters after which a clause ends at a blank in any case (some models forget their full stops)."""
_WINDOW: Final = 300
"""Characters in which the end of the next clause is looked for, so that no text costs more than its length."""
_SLICE: Final = 1000
"""Characters of a piece that are looked at together."""
_PLAIN_BLANK: Final = re.compile(r"(?<![\d$€£¥₹+.])\s(?![\d$€£¥₹+(%°-])")
"""Not one inside of a telephone number or between an amount and its unit."""


class ClauseSplitter:
    """Cuts the text of one reply. Owned by the `ResponsePlayback` of that reply, used on the event loop.

    No clause has more than 300 characters. Holds at most about `MAX_CLAUSE` characters between two pieces.
    """

    def __init__(self, language: str = "en") -> None:
        """`language`: of the reply; in German a number with a full stop may be an ordinal."""
        self._text = ""
        self._first = True
        self._language = language

    def feed(self, piece: str) -> list[str]:
        """The clauses that this piece completes."""
        clauses: list[str] = []
        for at in range(0, len(piece), _SLICE):
            self._text += piece[at : at + _SLICE]
            while cut := self._cut():
                clause, self._text = self._text[:cut].strip(), self._text[cut:]
                if clause:
                    clauses.append(clause)
                    self._first = False
        return clauses

    def rest(self) -> list[str]:
        """The last clause; nothing if there is none.

        For the end of a reply, and for a pause of the agent (it calls a tool): the caller should not wait for the end
        of a sentence that is complete. More text may follow.
        """
        text, self._text = self._text.strip(), ""
        if text:
            self._first = False
        return [text] if text else []

    def _cut(self) -> int:
        """Where the next clause ends; 0 if it is not complete."""
        text = self._text[:_WINDOW]
        for match in (_FIRST_CUT if self._first else _SENTENCE_CUT).finditer(text):
            if self._is_end(text, match):
                return match.end()
        if len(text) > LONG_CLAUSE:
            for match in _LONG_CUT.finditer(text, LONG_CLAUSE // 2):
                if self._is_end(text, match):
                    return match.end()
        if len(self._text) > MAX_CLAUSE:
            blanks = [match.end() for match in _PLAIN_BLANK.finditer(self._text, MAX_CLAUSE // 2, MAX_CLAUSE)]
            return blanks[-1] if blanks else self._text.rfind(" ", 0, MAX_CLAUSE) + 1 or MAX_CLAUSE
        return 0

    def _is_end(self, text: str, match: re.Match[str]) -> bool:
        """Whether a clause ends at this mark. Not yet, if the answer depends on what has not come."""
        front, following = text[: match.end()], text[match.end() :]
        if front.rfind("[") > front.rfind("]"):
            return False  # the text of a link
        if "\n" in match[0] and not _LIST_NUMBER.search(front):
            return True
        if match[0][0] in ",;:":
            number_before = text[match.start() - 1 : match.start()].isdigit()
            if match[0][0] != ":" and not number_before:
                return True
            undecided = following[:3] in ("", "e", "ex", "x")
            return not undecided and not _GOES_ON_WITH_NUMBER.match(following)
        if match[0][0] != ".":
            return True
        if goes_on(front, following, self._language):
            return False
        end = front.rstrip()[-_LONGEST_END:]
        if _MAY_END.search(end):
            return bool(following) and not (following[0].islower() or following[0].isdigit())
        if _ABBREVIATION.search(end) or _LIST_NUMBER.search(front):
            return False
        if _BEFORE_NUMBER.search(end):
            return bool(following) and not following[0].isdigit()
        if _NUMBER_END.search(end):
            return self._ends_at_number(front, following)
        return True

    def _ends_at_number(self, front: str, following: str) -> bool:
        """`It costs 5. Then ...`, but neither `am 3. Mai` nor `der 1. platz`."""
        if len(following) < len("Mai"):
            return False  # the next word decides
        if following[0].islower() or _GERMAN_MONTH.match(following):
            return False
        return not (self._language == "de" and _GERMAN_ORDINAL.search(front[-24:]))


def pause_ms_after(clause: str) -> int:
    """Milliseconds of silence between this clause and the next."""
    return 240 if clause.rstrip("'\")*_”’»").endswith((".", "!", "?", "。", "！", "？")) else 90
