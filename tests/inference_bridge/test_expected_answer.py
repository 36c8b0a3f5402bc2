"""What an agent's last words ask for, and whether the caller's words answer it, in five languages. Tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.inference_bridge.turns.expected_answer import ANYTHING, Expected, answered, expected
from antiphon.inference_bridge.turns.questions import Asked

pytestmark = pytest.mark.pure

QUESTIONS = """
en open      Hello, this is the Riverside Clinic. How can I help you?
en open      What can I do for you?
en open      Thank you. I have booked you for Tuesday at ten.
en open      You're welcome.
en phone     What is your phone number?
en phone     Can I have your phone number, please?
en phone     Which number can we reach you on?
en phone     And your mobile?
en phone     Please give me a callback number.
en number    Could you tell me your order number? You find it on the invoice.
en number    And your postcode?
en number    I need your account number.
en number:4  Please tell me the four-digit code.
en number:4  What are the last four digits of your card?
en number:6  Please enter the 6-digit PIN.
en number:16 Can you read me the sixteen digits on the front?
en spelling  Could you spell your last name for me?
en spelling  How do you spell that?
en spelling  How is that spelled?
en name      What's your name?
en name      And your name?
en name      May I ask who is calling?
en full_name May I have your full name?
en email     What is your e-mail address?
en email     Which email should I send it to?
en address   What's your address?
en address   Where do you live?
en date      On which day?
en birth_date What is your date of birth?
en birth_date When were you born?
en time      At what time would you like to come?
en time      What time suits you?
en day_and_time When would you like to come?
en day_and_time To which day and time shall I move it?
en yes_no    Is that correct?
en yes_no    Shall I book it?
en yes_no    Anything else?
en yes_no    So that is Tuesday at ten, right?
en yes_no    Is your phone number still 555 1234?
en yes_no    Do you have an order number?
en yes_no    Would you like me to spell that?
en yes_no    Please confirm the booking by saying yes.
en yes_no    Just say okay and I will book it.
en yes_no    Your booking is done. Is there anything else I can do for you?
en choice    Tuesday or Wednesday?
en choice    Would you like the morning or the afternoon?
en choice    In the morning I have nine and ten. Which one would you like?
en items     What would you like to order?
en items     Which days are good for you?
en open      What would you like to do?
en amount    How many people will be coming?
en amount    How old are you?
de open      Guten Tag, wie kann ich Ihnen helfen?
de phone     Wie lautet Ihre Telefonnummer?
de phone     Unter welcher Nummer kann ich Sie erreichen?
de number:4  Bitte nennen Sie mir den vierstelligen Code.
de number    Können Sie mir Ihre Kundennummer sagen?
de number:4  Wie lauten die letzten vier Ziffern Ihrer Karte?
de spelling  Können Sie mir bitte Ihren Namen buchstabieren?
de name      Wie heißen Sie?
de name      Mit wem spreche ich?
de email     Wie ist Ihre E-Mail-Adresse?
de address   Wo wohnen Sie?
de date      An welchem Tag?
de birth_date Wann sind Sie geboren?
de time      Um wie viel Uhr?
de day_and_time Wann möchten Sie kommen?
de yes_no    Ist das richtig?
de yes_no    Möchten Sie einen Termin?
de yes_no    Soll ich das buchen?
de yes_no    Sonst noch etwas?
de yes_no    Bitte bestätigen Sie mit Ja.
de choice    Dienstag oder Mittwoch?
es open      ¿En qué puedo ayudarle?
es phone     ¿Cuál es su número de teléfono?
es number:4  Por favor, dígame el código de cuatro dígitos.
es number    ¿Me puede decir su número de pedido?
es spelling  ¿Puede deletrear su apellido?
es name      ¿Cómo se llama?
es email     ¿Cuál es su correo electrónico?
es date      ¿Qué día prefiere?
es time      ¿A qué hora?
es day_and_time ¿Cuándo quiere venir?
es yes_no    ¿Es correcto?
es yes_no    ¿Quiere reservar una cita?
es yes_no    ¿Algo más?
es choice    ¿El martes o el miércoles?
fr open      Comment puis-je vous aider ?
fr phone     Quel est votre numéro de téléphone ?
fr number:4  Quels sont les quatre derniers chiffres de votre carte ?
fr spelling  Pouvez-vous épeler votre nom ?
fr name      Comment vous appelez-vous ?
fr email     Quelle est votre adresse e-mail ?
fr date      Quel jour vous convient ?
fr time      À quelle heure ?
fr yes_no    C'est bien ça ?
fr yes_no    Voulez-vous réserver ?
fr choice    Mardi ou mercredi ?
it open      Come posso aiutarla?
it phone     Qual è il suo numero di telefono?
it number:6  Mi dica il codice di sei cifre.
it spelling  Può ripetere il suo nome lettera per lettera?
it name      Come si chiama?
it email     Qual è il suo indirizzo e-mail?
it date      Che giorno preferisce?
it time      A che ora?
it yes_no    È corretto?
it yes_no    Vuole prenotare?
it choice    Martedì o mercoledì?
"""


@pytest.mark.parametrize("row", [line for line in QUESTIONS.splitlines() if line])
def test_what_a_question_asks_for(row: str) -> None:
    language, asked, text = row.split(maxsplit=2)
    kind, _, count = asked.partition(":")
    assert expected(text, language) == Expected(Asked(kind), int(count) if count else None)


ANSWERS = """
en yes_no    yes  Yes.
en yes_no    yes  No, thank you.
en yes_no    yes  Yeah, sure.
en yes_no    yes  That's right.
en yes_no    ?    Yes, but I would rather come on Wednesday.
en yes_no    ?    On Tuesday.
en number:4  no   3-9
en number:4  no   39
en number:4  yes  3907
en number:4  yes  three nine zero seven
en number:4  yes  double four seven one
en number:6  no   It is 4 5 5
en number    ?    4711
en number    no   Um, it is
en number    no   One moment.
en phone     no   555
en phone     no   It's 555-01
en phone     ?    555-0123
en phone     yes  555-012-3456
en phone     yes  five five five oh one two three four five six
en spelling  no   Miller
en spelling  ?    M-I-L-L-E-R
en name      yes  Anna Miller.
en name      yes  My name is Miller.
en name      no   My name is
en name      no   Yes, this is
en full_name no   Anna.
en full_name yes  Anna Miller.
en email     no   anna dot lee
en email     no   anna dot lee at example
en email     yes  anna dot lee at example dot com
en email     yes  anna.lee@example.co.uk
en address   no   Baker Street
en address   ?    42 Baker Street
en date      yes  On Thursday.
en date      yes  Tomorrow.
en date      yes  The 5th of May, 1987.
en date      ?    In May.
en birth_date no  The fifth of May.
en birth_date yes The 5th of May, 1987.
en items     ?    Please send me some cheese.
en items     yes  Some cheese and a loaf of bread.
en date      no   Maybe
en time      yes  At 10.
en time      yes  10:30
en time      yes  Half past ten, please.
en time      no   Um
en time      no   Let me see.
en day_and_time yes On Thursday at ten.
en day_and_time ?  On Thursday.
en amount    yes  Four.
en amount    ?    Just us.
en open      ?    I would like to book an appointment.
de yes_no    yes  Ja, gerne.
de yes_no    yes  Nein.
de number:4  no   drei neun
de number:4  yes  dreiundvierzig siebzehn
de phone     no   0151
de date      yes  Am Donnerstag.
de time      yes  Um halb elf.
de name      yes  Mein Name ist Müller.
de name      no   Einen Moment.
es yes_no    yes  Sí, es correcto.
es number:4  no   tres nueve
es number:4  yes  tres nueve cero siete
es phone     no   612
es phone     yes  612 345 678
es date      yes  El jueves.
es time      yes  A las cinco.
es name      yes  Me llamo Laura García.
es name      no   Un momento.
fr yes_no    yes  Oui, bien sûr.
fr phone     no   06 12
fr phone     yes  06 12 34 56 78
fr date      yes  Jeudi.
fr time      yes  À dix heures.
fr name      yes  Je m'appelle Dupont.
it yes_no    yes  Sì, certo.
it number:6  no   uno due tre
it number:6  yes  ventitré quarantacinque sessantasette
it date      yes  Giovedì.
it time      yes  Alle dieci.
it name      yes  Mi chiamo Rossi.
"""
SAYS = {"yes": True, "no": False, "?": None}


@pytest.mark.parametrize("row", [line for line in ANSWERS.splitlines() if line])
def test_whether_words_are_the_whole_answer(row: str) -> None:
    language, asked, whole, text = row.split(maxsplit=3)
    kind, _, count = asked.partition(":")
    assert answered(Expected(Asked(kind), int(count) if count else None), text, language) is SAYS[whole]


def test_only_the_last_question_counts() -> None:
    assert expected("What is your name? Thank you. And on which day?").asked is Asked.DATE
    assert expected("Shall I book it? I have Tuesday at ten. It takes an hour. We are in Baker Street.") == ANYTHING


def test_a_language_without_rules_expects_anything() -> None:
    assert expected("Wat is uw telefoonnummer?", "nl") == ANYTHING
    assert answered(ANYTHING, "Ja.", "nl") is None


@given(st.text(max_size=80), st.sampled_from(["en", "de", "es", "fr", "it", "nl", ""]), st.sampled_from(list(Asked)))
def test_any_text_is_read_without_an_error(text: str, language: str, asked: Asked) -> None:
    assert isinstance(expected(text, language), Expected)
    assert answered(Expected(asked, 4), text, language) in (True, False, None)
