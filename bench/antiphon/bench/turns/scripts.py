"""What scripted callers say: turns with the agent's question before them, and sounds over the agent's speech. Data.

Half of the turns stand here, the other half comes from a seed (`generated`), so that rules can't be fitted to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OPEN: Final = "How can I help you?"
OPEN_ES: Final = "¿En qué puedo ayudarle?"


@dataclass(frozen=True)
class Script:
    """One turn of a caller. A value."""

    kind: str
    asks: str
    """The agent's words before it."""
    parts: tuple[str, ...]
    """What the caller says, in the pieces between its pauses."""
    pauses: tuple[float, ...] = ()
    """Seconds between the parts."""
    behind: str = ""
    """What is to be heard behind the caller: `talk`, `music`, `hiss`."""
    language: str = "en"

    @property
    def has_pauses(self) -> bool:
        return bool(self.pauses)

    @property
    def text(self) -> str:
        return " ".join(self.parts)


@dataclass(frozen=True)
class Overlap:
    """One sound of the caller over the agent's speech. A value."""

    kind: str
    text: str
    """Spoken; empty for a sound without words, which `kind` names."""
    interrupts: bool
    """The caller wants to speak, so the agent has to stop."""
    asks: str = ""
    """What the agent is saying; empty for a long explanation."""
    level_db: float = 0.0
    """Of a voice in the background, relative to the caller's."""
    language: str = "en"


def _t(kind: str, asks: str, *said: str | float, behind: str = "", language: str = "en") -> Script:
    parts = tuple(each for each in said if isinstance(each, str))
    pauses = tuple(each for each in said if isinstance(each, float))
    return Script(kind, asks, parts, pauses, behind, language)


TURNS: Final = (
    # whole sentences
    _t("sentence", OPEN, "I would like to book an appointment."),
    _t("sentence", OPEN, "What time do you close today?"),
    _t("sentence", OPEN, "Can you tell me how much a cleaning costs?"),
    _t("sentence", OPEN, "I need to move my appointment to next week."),
    _t("sentence", OPEN, "My knee hurts and I want to see a doctor."),
    _t("sentence", OPEN, "Is there anything free tomorrow morning?"),
    _t("sentence", OPEN, "Please cancel my appointment on Friday."),
    _t("sentence", OPEN, "Do you have parking in front of the house?"),
    _t("sentence", OPEN, "I called yesterday, but nobody answered."),
    _t("sentence", OPEN, "Where do I find your office?"),
    _t("sentence", "Anything else?", "Yes, please send me a confirmation by mail."),
    _t("sentence", "Anything else?", "No, that is all, thank you very much."),
    # short answers
    _t("short", "Is that correct?", "Yes."),
    _t("short", "Shall I book it?", "Yes, please."),
    _t("short", "Would Tuesday be all right?", "No."),
    _t("short", "Are you a new patient?", "No, I'm not."),
    _t("short", "Please confirm the booking by saying yes.", "Yes."),
    _t("short", "On which day?", "On Thursday."),
    _t("short", "At what time?", "At half past ten."),
    _t("short", "How many people?", "Four."),
    _t("short", "Which would you like, the morning or the afternoon?", "The morning, please."),
    _t("short", "What is your name?", "Anna Miller."),
    _t("short", "What is your date of birth?", "The fifth of May, nineteen eighty seven."),
    _t("short", "Shall I repeat that?", "Sure."),
    # pauses for thought
    _t("thought", OPEN, "I would like to,", 0.7, "move my appointment to Friday."),
    _t("thought", OPEN, "I am calling because,", 1.0, "my daughter has a fever."),
    _t("thought", OPEN, "Can I come at,", 0.6, "half past ten tomorrow?"),
    _t("thought", OPEN, "I need an appointment for,", 1.2, "let me think,", 0.8, "the second week of June."),
    _t("thought", OPEN, "So the thing is,", 0.9, "my insurance has changed."),
    _t("thought", "On which day?", "Maybe,", 0.8, "Wednesday or Thursday."),
    _t("thought", "At what time?", "Um,", 0.7, "I think around four."),
    _t("thought", OPEN, "I wanted to ask whether,", 0.5, "you are open on Saturday."),
    _t("thought", OPEN, "Please tell the doctor that,", 1.1, "I will be late."),
    _t("thought", "What is your date of birth?", "That is,", 0.9, "the third of March, nineteen ninety."),
    # dictated numbers
    _t("number", "What is your phone number?", "five five five,", 0.6, "zero one two three,", 0.6, "four five six."),
    _t("number", OPEN, "My number is five five five,", 0.9, "zero one,", 0.9, "two three."),
    _t("number", "Please tell me your order number.", "four seven one,", 0.7, "one eight two,", 0.7, "nine."),
    _t("number", "What is the four digit code?", "three nine,", 0.8, "zero seven."),
    _t("number", "Which number can we reach you on?",
       "two one two,", 0.5, "five five five,", 0.7, "eight eight four one."),
    _t("number", "What is your account number?", "Sure, it is six six,", 1.0, "four four,", 0.8, "one two."),
    _t("number", "What is your phone number?",
       "It is seven seven zero,", 1.2, "nine zero zero,", 1.0, "one two three four."),
    _t("number", "And your zip code?", "nine zero,", 0.5, "two one zero."),
    _t("number", OPEN, "My order number is eight three,", 0.8, "five one,", 0.8, "seven six two."),
    _t("number", "What is the four digit code?", "One nine eight four."),
    # addresses
    _t("address", "What is your address?", "Forty two Baker Street,", 0.8, "in Springfield."),
    _t("address", "What is your address?", "One hundred and five,", 0.6, "Maple Avenue,", 0.7, "apartment nine."),
    _t("address", "What is your e-mail address?", "anna dot lee,", 0.7, "at example dot com."),
    _t("address", "What is your e-mail address?", "john,", 0.5, "dot smith at,", 0.8, "example dot org."),
    _t("address", "Where do you live?", "In Oak Lane,", 0.9, "number seventeen."),
    # spelled names
    _t("spelled", "Could you spell your last name?", "M, I, L,", 0.6, "L, E, R."),
    _t("spelled", "How do you spell that?", "K, A, T,", 0.8, "H, R, Y, N."),
    _t("spelled", "What is your name?", "My name is Schmidt, S, C, H,", 0.7, "M, I, D, T."),
    _t("spelled", "Could you spell your last name?", "B as in Berlin,", 0.6, "A, K,", 0.5, "E, R."),
    _t("spelled", "Please spell the street.", "W, A, L,", 0.9, "N, U, T."),
    # lists
    _t("list", OPEN, "I need paper,", 0.6, "two pens,", 0.6, "and a stapler."),
    _t("list", "What would you like to order?", "A large pizza,", 0.8, "a salad,", 0.7, "and a bottle of water."),
    _t("list", "Which days are good for you?", "Monday,", 0.5, "Tuesday,", 0.6, "and Friday afternoon."),
    _t("list", OPEN, "I have three questions, the price,", 0.7, "the time,", 0.7, "and the place."),
    # self-corrections and second thoughts
    _t("correction", "On which day?", "On Tuesday,", 0.5, "no sorry, on Wednesday."),
    _t("correction", "At what time?", "At ten,", 0.6, "I mean at eleven."),
    _t("correction", OPEN, "I want to cancel, ", 0.7, "actually, I want to move my appointment."),
    _t("correction", "Shall I book it?", "Yes,", 0.4, "but for two people."),
    _t("correction", OPEN, "I would like an appointment.", 0.6, "It is for my son."),
    _t("correction", "Is that correct?", "No,", 0.5, "the other one, please."),
    # background
    _t("background", OPEN, "I would like to book an appointment for tomorrow.", behind="talk"),
    _t("background", OPEN, "What time do you open on Monday?", behind="talk"),
    _t("background", OPEN, "Can you move my appointment to Friday?", behind="talk"),
    _t("background", "Shall I book it?", "Yes, please.", behind="talk"),
    _t("background", OPEN, "I would like to speak to the doctor.", behind="music"),
    _t("background", "On which day?", "On Thursday, please.", behind="music"),
    _t("background", OPEN, "How much does it cost?", behind="hiss"),
    _t("background", OPEN, "I am calling because of,", 0.8, "my last invoice.", behind="hiss"),
    # Spanish
    _t("sentence", OPEN_ES, "Quiero reservar una cita para mañana.", language="es"),
    _t("sentence", OPEN_ES, "¿A qué hora cierran hoy?", language="es"),
    _t("sentence", OPEN_ES, "Me gustaría hablar con el médico.", language="es"),
    _t("short", "¿Es correcto?", "Sí, es correcto.", language="es"),
    _t("short", "¿Qué día prefiere?", "El jueves, por favor.", language="es"),
    _t("short", "¿A qué hora?", "A las diez y media.", language="es"),
    _t("thought", OPEN_ES, "Llamo porque,", 0.8, "mi hija tiene fiebre.", language="es"),
    _t("thought", OPEN_ES, "Quería preguntar si,", 0.7, "abren el sábado.", language="es"),
    _t("number", "¿Cuál es su número de teléfono?", "seis uno dos,", 0.7, "tres cuatro cinco,", 0.7, "seis siete ocho.",
       language="es"),
    _t("number", OPEN_ES, "Mi número es cinco cinco cinco,", 0.9, "cero uno,", 0.9, "dos tres.", language="es"),
    _t("spelled", "¿Puede deletrear su apellido?", "G, A, R,", 0.7, "C, I, A.", language="es"),
    _t("list", "¿Qué desea pedir?",
       "Una pizza grande,", 0.7, "una ensalada,", 0.6, "y una botella de agua.", language="es"),
    _t("correction", "¿Qué día prefiere?", "El martes,", 0.5, "no, perdón, el miércoles.", language="es"),
    _t("correction", OPEN_ES, "Quiero una cita.", 0.6, "Es para mi hijo.", language="es"),
)  # fmt: skip

OVERLAPS: Final = (
    *(Overlap("words", text, True) for text in (
        "Stop, please.", "Wait a moment.", "I have another question.", "No, that is wrong.", "Can you repeat that?",
        "What about Friday?", "Sorry, I did not understand that.", "Hold on.", "That is enough, thank you.",
        "How much does it cost?", "Actually, I would like to cancel.", "Excuse me.", "No no, not that one.",
        "Can I speak to a person?",
    )),
    *(Overlap("answer", text, True, asks="Please confirm the booking by saying yes, and I will send you a message.")
      for text in ("Yes.", "Yes, please.", "Okay, yes.")),
    *(Overlap("listening", text, False) for text in (
        "Mhm.", "Mm-hmm.", "Uh-huh.", "Okay.", "Right.", "I see.", "Yeah.", "Sure.", "Got it.", "All right.",
        "Okay, okay.", "Yes.",
    )),
    *(Overlap(sound, "", False) for sound in ("cough", "cough", "keys", "door", "music", "hiss")),
    *(Overlap("talk", text, False, level_db=level) for text, level in (
        ("And then he said that the train would be late again.", -15.0),
        ("The weather will stay dry until the end of the week.", -20.0),
        ("We should buy some bread and a little cheese.", -25.0),
    )),
)  # fmt: skip
