"""What somebody wants, from the words. Pure.

One text can hold several intents ("hello, I'd like to book an appointment"); their order in `Intent` is the
order in which they are acted upon: the first that fits wins.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Intent(StrEnum):
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
    GOODBYE = "goodbye"
    NO = "no"
    YES = "yes"
    THANKS = "thanks"
    HELLO = "hello"


_PATTERNS: Final = {
    Intent.PERSON: r"(?:speak|talk|connect|transfer|put) .*\b(?:person|human|someone|somebody|colleague|operator|agent|nurse|doctor)"
    r"|\b(?:real|a) (?:person|human)\b|\boperator\b|\brepresentative\b|\bhuman being\b",
    Intent.REPEAT: r"\brepeat\b|say (?:that|it) again|\bpardon\b|come again|what did you (?:just )?say|one more time|once more"
    r"|didn't (?:hear|catch|get) (?:that|you|it)|^(?:sorry|what|excuse me)$",
    Intent.CANCEL: r"\bcancel|\bdelete\b|\bcall off\b|\bdrop (?:it|my|the)\b|don't need .*appointment|get rid of",
    Intent.MOVE: r"\bmove\b|\breschedul|\bchange\b|\bshift\b|\bpostpone\b|\bpush\b|different (?:time|day)|another (?:time|day)|\bmake it\b.*\binstead\b",
    Intent.LIST: r"\bwhen is (?:my|the|it)\b|what .*\b(?:booked|have i|do i have)\b|which appointments?|\bdo i have\b|my appointments\b"
    r"|what did i (?:book|say)|\b(?:did|have) (?:i|you) book|what(?: i|')s booked|list .*appointments?|what(?: time|'s| is| day).*\bmy (?:next )?appointment",
    Intent.CLOCK: r"what time is it|what(?:'s| is) the time|tell me the time|\bcurrent time\b|do you have the time|have you got the time|time is it",
    Intent.DATE: r"what (?:day|date) is (?:it|today)|what(?:'s| is) (?:the date|today|today's date|the day)|tell me the date|which day is it|today's date",
    Intent.HOURS: r"\bopening hours\b|\bopen(?:ing)?\b|\bhours\b|\bwhen do you close\b",
    Intent.FREE: r"\bavailable\b|\bavailability\b|\bfree\b|\bopenings\b|\bslots?\b|earliest|soonest|what times",
    Intent.BOOK: r"\bbook\b|\bschedule\b|\breserve\b|\bappointment\b|see (?:a|the) doctor|\bcheck ?up\b|come in\b|\banother one\b",
    Intent.NAME: r"\bmy name(?:'s| is)\b|\bthis is [a-z]+(?: [a-z]+)?(?: speaking)?$|\bunder the name\b",
    Intent.HELP: r"\bhelp\b|what can you do|what can i (?:do|say|ask)|how does this work|\boptions\b",
    Intent.GOODBYE: r"\b(?:good ?bye|bye|hang up|see you|that's (?:all|it|everything)|that is all|that will be all|that'll be all|nothing else|have a (?:nice|good) (?:day|one))\b",
    Intent.NO: r"^(?:no|nope|nah|not really|no thanks|no thank you)\b|\bdon't\b|\bneither\b|\bnever ?mind\b",
    Intent.YES: r"\b(?:yes|yeah|yep|yup|sure|ok|okay|correct|right|please do|sounds good|that works|works for me|perfect|fine|great|definitely|of course|go ahead)\b",
    Intent.THANKS: r"\bthank(?:s| you)\b|\bcheers\b|much appreciated",
    Intent.HELLO: r"\b(?:hello|hi|hey|good (?:morning|afternoon|evening|day)|greetings)\b",
}
_COMPILED: Final = {intent: re.compile(pattern) for intent, pattern in _PATTERNS.items()}
_NAME: Final = re.compile(
    r"\b(?:my name is|my name's|under the name(?: of)?|the name is|this is) ([A-Za-z][A-Za-z'-]+(?: [A-Z][A-Za-z'-]+)?)",
    re.I,
)
_NO_NAMES: Final = frozenset(
    [
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
        "how",
    ]
)


def intents_of(plain_text: str) -> frozenset[Intent]:
    """`plain_text`: as `when.plain` gives it."""
    return frozenset(intent for intent, pattern in _COMPILED.items() if pattern.search(plain_text))


def name_in(text: str) -> str:
    """The name that somebody gives, from the text as it was recognised; empty if none."""
    match = _NAME.search(text)
    if not match or match[1].split()[0].lower() in _NO_NAMES:
        return ""
    words = match[1].split()
    # "my name is anna and I ...": the second word belongs to the name only when written as one
    kept = words[:1] + [w for w in words[1:] if w[0].isupper() and w not in ("I", "And")]
    return " ".join(w[0].upper() + w[1:] for w in kept)
