"""Turns and sounds from a seed: the same kinds as in `scripts`, with other words, numbers and pauses. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from antiphon.bench.turns.scripts import OPEN, OPEN_ES, Overlap, Script

_DIGITS: Final = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_DIGITS_ES: Final = ["cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"]
_DAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
_HOURS: Final = ["eight", "nine", "ten", "eleven", "two", "three", "four", "five"]
_FIRST: Final = ["Anna", "John", "Maria", "Peter", "Laura", "David", "Susan", "Thomas"]
_LAST: Final = ["Miller", "Baker", "Johnson", "Parker", "Wagner", "Dawson", "Carter", "Fisher"]
_STREETS: Final = ("Baker Street", "Oak Lane", "Maple Avenue", "River Road", "Church Street", "Hill Road")
_TOWNS: Final = ["Springfield", "Riverside", "Oakland", "Denver", "Boston", "Lincoln"]
_GOODS: Final = (
    "bread",
    "milk",
    "two bottles of water",
    "a sandwich",
    "some cheese",
    "an apple pie",
    "orange juice",
    "a salad",
)
_WISHES: Final = (
    "book an appointment", "cancel my booking", "change my address", "speak to a person", "order a taxi",
    "pay my invoice", "rent a car", "ask about my delivery", "report a broken lamp", "extend my contract",
)  # fmt: skip
_REASONS: Final = (
    "my heating is broken", "nobody came yesterday", "the package is still missing", "I lost my card",
    "the invoice is wrong", "my son is ill", "I will be late",
)  # fmt: skip
_QUESTIONS: Final = (
    "When do you open on {day}?", "How much does that cost?", "Can I come on {day} at {hour}?",
    "Do you deliver on {day}?", "Is there still a table free on {day}?", "Where can I park?",
    "What do I have to bring?",
    "Could you call me back on {day}?",
)  # fmt: skip
_COMMAND: Final = (
    "Hang on a second.", "Not {day}, please.", "Stop talking.", "And what about {day}?", "I wanted to {wish}.",
    "That is not what I meant.", "Let me ask something else.", "Which day did you say?", "I don't want that.",
)  # fmt: skip
_SIGNS: Final = (
    "Mhm.",
    "Uh-huh.",
    "Yeah.",
    "Okay.",
    "I see.",
    "Right, right.",
    "Aha.",
    "Sure, okay.",
    "Yep.",
    "Of course.",
)


class _Writer:
    """Writes turns of one language with one source of chance. Owned by `turns`, used once."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def pause(self) -> float:
        return round(self.chance.uniform(0.35, 1.3), 2)

    def fill(self, text: str) -> str:
        pick = self.chance.choice
        return text.format(day=pick(_DAYS), hour=pick(_HOURS), wish=pick(_WISHES))

    def script(self, kind: str, asks: str, *parts: str, behind: str = "", language: str = "en") -> Script:
        pauses = tuple(self.pause() for _ in parts[1:])
        return Script(kind, asks, parts, pauses, behind, language)

    def groups(self, sizes: tuple[int, ...], words: list[str] = _DIGITS) -> list[str]:
        last = len(sizes) - 1
        return [
            " ".join(self.chance.choice(words) for _ in range(size)) + ("." if number == last else ",")
            for number, size in enumerate(sizes)
        ]

    def sentence(self) -> Script:
        asks = self.chance.choice((OPEN, OPEN, "Anything else?", "What can I do for you?"))
        kinds = (self.chance.choice(_QUESTIONS), "I would like to {wish}.", "Hello, I want to {wish}, please.")
        return self.script("sentence", asks, self.fill(self.chance.choice(kinds)))

    def short(self) -> Script:
        pick = self.chance.choice
        asks, answers = pick((
            ("Is that right?", ("Yes.", "No.", "That's right.", "Yes, exactly.", "Correct.")),
            ("Would you like to continue?", ("Yes, please.", "No, thanks.", "Sure.", "Okay.")),
            ("Which day suits you?", (f"{pick(_DAYS)}.", f"On {pick(_DAYS)}, please.", "Tomorrow.")),
            ("What time would you like?",
             (f"At {pick(_HOURS)}.", f"{pick(_HOURS).title()} thirty.", "In the morning.")),
            ("May I have your name, please?", (f"{pick(_FIRST)} {pick(_LAST)}.", f"My name is {pick(_LAST)}.")),
            ("How many would you like?", (f"{pick(_DIGITS[2:]).title()}.", f"Just {pick(_DIGITS[2:])}.")),
        ))  # fmt: skip
        return self.script("short", asks, pick(answers))

    def thought(self) -> Script:
        pick = self.chance.choice
        first, second = pick((
            ("I would like to,", pick(_WISHES) + "."),
            ("I am calling because,", pick(_REASONS) + "."),
            ("Could you tell me when,", "you are open on {day}?"),
            ("I think I need,", "a new appointment on {day}."),
            ("Well, the problem is that,", pick(_REASONS) + "."),
            ("I want to come on {day} at,", "{hour} o'clock."),
            ("My friend and I,", "would like to {wish}."),
        ))  # fmt: skip
        return self.script("thought", OPEN, self.fill(first), self.fill(second))

    def number(self) -> Script:
        pick = self.chance.choice
        which = pick(("phone", "code", "order", "open"))
        if which == "phone":
            asks = pick(("What is your phone number?", "Can I have your telephone number, please?"))
            return self.script("number", asks, *self.groups(pick(((3, 3, 4), (3, 4), (3, 3, 2, 2)))))
        if which == "code":
            return self.script("number", "Please tell me the six digit code.", *self.groups(pick(((2, 2, 2), (3, 3)))))
        if which == "order":
            return self.script(
                "number", "What is your customer number?", *self.groups(pick(((2, 3), (3, 3), (2, 2, 3))))
            )
        first, *rest = self.groups(pick(((3, 2, 2), (3, 4), (2, 2, 2))))
        return self.script("number", OPEN, f"My {pick(('number', 'order number', 'card number'))} is {first}", *rest)

    def address(self) -> Script:
        pick = self.chance.choice
        number = pick(("Twelve", "Forty one", "One hundred and three", "Seven"))
        if self.chance.random() < 0.4:
            parts = (f"{pick(_FIRST).lower()} dot {pick(_LAST).lower()},", "at example dot com.")
            return self.script("address", "What is your e-mail address?", *parts)
        return self.script("address", "What is your address?", f"{number} {pick(_STREETS)},", f"in {pick(_TOWNS)}.")

    def spelled(self) -> Script:
        letters = list(self.chance.choice(_LAST).upper())
        at = self.chance.randint(2, len(letters) - 2)
        asks = self.chance.choice(("Could you spell that for me?", "How do you spell your name?"))
        return self.script("spelled", asks, ", ".join(letters[:at]) + ",", ", ".join(letters[at:]) + ".")

    def list(self) -> Script:
        first, second, third = self.chance.sample(_GOODS, 3)
        lead = self.chance.choice(("I need", "I would like", "Please send me"))
        return self.script("list", "What would you like to order?", f"{lead} {first},", f"{second},", f"and {third}.")

    def correction(self) -> Script:
        day, other = self.chance.sample(_DAYS, 2)
        hour, later = self.chance.sample(_HOURS, 2)
        asks, first, second = self.chance.choice((
            ("On which day?", f"On {day},", f"no wait, {other}."),
            ("At what time?", f"At {hour},", f"or rather at {later}."),
            ("Shall I book that?", "Yes please.", f"And can you also call me on {day}?"),
            (OPEN, self.fill("I want to {wish}."), "It is rather urgent."),
        ))  # fmt: skip
        return self.script("correction", asks, first, second)

    def background(self) -> Script:
        text = self.fill(self.chance.choice(_QUESTIONS))
        return self.script("background", OPEN, text, behind=self.chance.choice(("talk", "talk", "music", "hiss")))

    def spanish(self) -> Script:
        pick = self.chance.choice
        which = pick(("sentence", "short", "thought", "number"))
        if which == "short":
            asks, text = pick((
                ("¿Es correcto?", "Sí."), ("¿Quiere continuar?", "No, gracias."), ("¿A qué hora?", "A las cinco."),
                ("¿Cómo se llama?", "Me llamo Laura García."),
            ))  # fmt: skip
            return self.script("short", asks, text, language="es")
        if which == "thought":
            first, second = pick((("Me gustaría,", "cambiar mi cita."), ("Llamo porque,", "perdí mi tarjeta."),
                                  ("Quiero saber cuándo,", "abren mañana.")))  # fmt: skip
            return self.script("thought", OPEN_ES, first, second, language="es")
        if which == "number":
            parts = self.groups((3, 3, 3), _DIGITS_ES)
            return self.script("number", "¿Me puede dar su teléfono?", *parts, language="es")
        text = pick(("¿Cuánto cuesta la entrada?", "Quiero anular mi reserva.", "Necesito un taxi para mañana.",
                     "¿Dónde puedo aparcar?"))  # fmt: skip
        return self.script("sentence", OPEN_ES, text, language="es")


def turns(seed: int, count: int) -> list[Script]:
    """`count` turns, half of them of the kinds with pauses."""
    writer = _Writer(random.Random(seed))
    kinds: list[tuple[Callable[[], Script], int]] = [
        (writer.sentence, 22), (writer.short, 20), (writer.thought, 14), (writer.number, 14), (writer.address, 5),
        (writer.spelled, 5), (writer.list, 5), (writer.correction, 7), (writer.background, 8), (writer.spanish, 12),
    ]  # fmt: skip
    makers, weights = zip(*kinds, strict=True)
    return [maker() for maker in writer.chance.choices(makers, weights, k=count)]


def overlaps(seed: int, count: int) -> list[Overlap]:
    """`count` sounds over the agent's speech: half of them words that are meant to stop it."""
    chance = random.Random(seed + 1)
    writer = _Writer(chance)
    found = []
    for _ in range(count):
        share = chance.random()
        if share < 0.5:
            found.append(Overlap("words", writer.fill(chance.choice(_COMMAND)), True))
        elif share < 0.75:
            found.append(Overlap("listening", chance.choice(_SIGNS), False))
        elif share < 0.88:
            found.append(Overlap(chance.choice(("cough", "keys", "door", "music", "hiss")), "", False))
        else:
            level = -chance.uniform(14, 26)
            found.append(Overlap("talk", writer.fill("They said it would be ready on {day}."), False, level_db=level))
    return found
