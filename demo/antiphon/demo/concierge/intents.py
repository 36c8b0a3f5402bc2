"""What the caller wants, from the words. Pure.

One text can hold several intents ("hello, I'd like to book an appointment"); their order in `Intent` is the
order in which they are acted upon: the first that fits wins.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Intent(StrEnum):
    """What one turn of a caller may ask for, in the order in which it is acted upon."""

    PERSON = "person"
    REPEAT = "repeat"
    CANCEL = "cancel"
    MOVE = "move"
    LIST = "list"
    CLOCK = "clock"
    DATE = "date"
    HOURS = "hours"
    FREE = "free"
    BOOK = "book"
    NAME = "name"
    HELP = "help"
    HOW_ARE_YOU = "how_are_you"
    WHO_ARE_YOU = "who_are_you"
    GOODBYE = "goodbye"
    NO = "no"
    YES = "yes"
    THANKS = "thanks"
    HELLO = "hello"


# Each line is one alternative.
_PHRASES: Final = {
    Intent.PERSON: (
        r"(?:speak|talk|connect|transfer|put) .*\b(?:person|human|someone|somebody|colleague)",
        r"(?:speak|talk|connect|transfer|put) .*\b(?:operator|agent|nurse|doctor)",
        r"\b(?:real|a) (?:person|human)\b",
        r"\boperator\b",
        r"\brepresentative\b",
        r"\bhuman being\b",
    ),
    Intent.REPEAT: (
        r"\brepeat\b",
        r"say (?:that|it) again",
        r"\bpardon\b",
        r"come again",
        r"what did you (?:just )?say",
        r"one more time",
        r"once more",
        r"didn't (?:hear|catch|get) (?:that|you|it)",
        r"^(?:sorry|what|excuse me)$",
    ),
    Intent.CANCEL: (
        r"\bcancel",
        r"\bdelete\b",
        r"\bcall off\b",
        r"\bdrop (?:it|my|the)\b",
        r"don't need .*appointment",
        r"get rid of",
    ),
    Intent.MOVE: (
        r"\bmove\b",
        r"\breschedul",
        r"\bchange\b",
        r"\bshift\b",
        r"\bpostpone\b",
        r"\bpush\b",
        r"(?:different|another) (?:time|day)",
        r"\bmake it\b.*\binstead\b",
    ),
    Intent.LIST: (
        r"\bwhen is (?:my|it|the appointment)\b",
        r"what .*\b(?:booked|have i|do i have)\b",
        r"which appointments?",
        r"\bdo i have\b",
        r"my appointments\b",
        r"what did i (?:book|say)",
        r"\b(?:did|have) (?:i|you) book",
        r"what(?: i|')s booked",
        r"list .*appointments?",
        r"what(?: time|'s| is| day).*\bmy (?:next )?appointment",
    ),
    Intent.CLOCK: (
        r"\btime is it",
        r"what(?:'s| is) the time",
        r"tell me the time",
        r"\bcurrent time\b",
        r"(?:do you have|have you got) the time",
    ),
    Intent.DATE: (
        r"what (?:day|date) is (?:it|today)",
        r"^what \w+ (?:is|does) (?:it |this )?today$",  # as "what day is it today" is sometimes heard
        r"what(?:'s| is) (?:the date|today|the day)",
        r"tell me the date",
        r"which day is it",
        r"today's date",
    ),
    Intent.HOURS: (r"\bopen(?:ing)?\b", r"\bhours\b", r"\bwhen do you close\b"),
    Intent.FREE: (
        r"\bavailab(?:le|ility)\b",
        r"\bfree\b",
        r"\bopenings\b",
        r"\bslots?\b",
        r"earliest",
        r"soonest",
        r"what times",
    ),
    Intent.BOOK: (
        r"\bbook\b",
        r"\bschedule\b",
        r"\breserve\b",
        r"\bappointment\b",
        r"see (?:a|the) doctor",
        r"\bcheck ?up\b",
        r"come in\b",
        r"\banother one\b",
    ),
    Intent.NAME: (
        r"\bmy name(?:'s| is)\b",
        r"\bthis is [a-z]+(?: [a-z]+)?(?: speaking)?$",
        r"\bunder the name\b",
    ),
    Intent.HELP: (r"\bhelp\b", r"what can (?:you do|i (?:do|say|ask))", r"how does this work", r"\boptions\b"),
    Intent.HOW_ARE_YOU: (
        r"how (?:are|do) you(?: doing| feeling)?\b(?! (?:book|move|cancel|do|work))",
        r"how(?:'s| is) it going",
        r"how have you been",
        r"\bnice to (?:meet|talk to|hear from) you",
    ),
    Intent.WHO_ARE_YOU: (
        r"who (?:are you|is this|am i (?:talking|speaking) (?:to|with))",
        r"what(?:'s| is) your name",
        r"what are you\b",
        r"are you (?:a |an )?(?:real|human|person|robot|bot|machine|computer|ai)\b",
        r"where (?:am i|did i) call",
    ),
    Intent.GOODBYE: (
        r"\b(?:good ?bye|bye|hang up|see you|nothing else)\b",
        r"\bthat(?:'s| is|'ll be| will be) (?:all|it|everything)\b",
        r"\bhave a (?:nice|good) (?:day|one)\b",
    ),
    Intent.NO: (
        r"^(?:no|nope|nah|not really)\b",
        r"\bdon't\b",
        r"\bneither\b",
        r"\bnever ?mind\b",
    ),
    Intent.YES: (
        r"\b(?:yes|yeah|yep|yup|sure|ok|okay|correct|right|perfect|fine|great|definitely)\b",
        r"\b(?:please do|sounds good|that works|works for me|of course|go ahead)\b",
    ),
    Intent.THANKS: (r"\bthank(?:s| you)\b", r"\bcheers\b", r"much appreciated"),
    Intent.HELLO: (r"\b(?:hello|hi|hey|good (?:morning|afternoon|evening|day)|greetings)\b",),
}
_COMPILED: Final = {intent: re.compile("|".join(phrases)) for intent, phrases in _PHRASES.items()}
_NAME: Final = re.compile(
    r"\b(?:my name is|my name's|under the name(?: of)?|the name is|this is) "
    r"([A-Za-z][A-Za-z'-]+(?: [A-Z][A-Za-z'-]+)?)",
    re.I,
)
_NO_NAMES: Final = frozenset(
    (
        "a",
        "the",
        "not",
        "it",
        "that",
        "my",
        "your",
        "for",
        "about",
        "just",
        "very",
        "all",
        "good",
        "fine",
        "great",
        "what",
    )
)


def intents_of(plain_text: str) -> frozenset[Intent]:
    """`plain_text`: as `when.plain` gives it."""
    return frozenset(intent for intent, pattern in _COMPILED.items() if pattern.search(plain_text))


def name_in(text: str) -> str:
    """The name that the caller gives, from the text as it was recognised; empty if none."""
    match = _NAME.search(text)
    if not match or match[1].split()[0].lower() in _NO_NAMES:
        return ""
    words = match[1].split()
    # "my name is anna and I ...": the second word belongs to the name only when written as one
    kept = words[:1] + [w for w in words[1:] if w[0].isupper() and w not in ("I", "And")]
    return " ".join(w[0].upper() + w[1:] for w in kept)
