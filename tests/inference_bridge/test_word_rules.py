"""Which words are signs of listening, complete, or a check whether the agent is there, in each language."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.languages import LANGUAGES
from antiphon.inference_bridge.turns.backchannel import (
    invites_answer,
    is_backchannel,
    is_presence_check,
    sounds_complete,
)

pytestmark = pytest.mark.pure

Table = dict[str, str]
"""Language to texts, one a line."""


def lines(table: Table) -> list[tuple[str, str]]:
    return [
        (language, text) for language, texts in table.items() for line in texts.splitlines() if (text := line.strip())
    ]


LISTENING: Table = {
    "en": """
        Mm-hmm.
        Mm-hm
        Mhm.
        Uh-huh.
        Uh huh, okay.
        Aho.
        Nana.
        Hm.
        Oh, I see.
        Yeah, yeah.
        That makes sense.
        Sounds good.
        Okay, great.
        Right, of course.
        I understand.
        """,
    "de": """
        Mhm.
        Hm, ja.
        Aha.
        Ach so.
        Achso, okay.
        Ja, genau.
        Ja ja.
        Alles klar.
        Verstehe.
        Ah, ich verstehe.
        Stimmt.
        Na klar.
        In Ordnung.
        Okay, gut.
        Ähm.
        """,
    "es": """
        Ajá.
        Mhm.
        Sí, sí.
        Si.
        Vale.
        Vale, vale.
        Claro.
        Claro que sí.
        De acuerdo.
        Entiendo.
        Ah, ya veo.
        Muy bien.
        Está bien.
        Perfecto.
        Eso es.
        """,
    "fr": """
        Mhm.
        Hum.
        Oui, oui.
        Ouais.
        D'accord.
        D’accord.
        Ah, d'accord.
        Je vois.
        Ah bon.
        Bien sûr.
        Très bien.
        C'est ça.
        Voilà.
        Ok, parfait.
        Je comprends.
        """,
    "it": """
        Mhm.
        Sì, sì.
        Si.
        Va bene.
        Ah, ho capito.
        Certo.
        Capisco.
        D'accordo.
        Ok, perfetto.
        Esatto.
        Eh già.
        Ah, ecco.
        Come no.
        Benissimo.
        Molto bene.
        """,
}
WORDS: Table = {
    "en": """
        Stop.
        No.
        Wait.
        What?
        Hello?
        Okay, but not on Monday.
        Yes, book it.
        Right turn or left?
        Good morning.
        I see a problem.
        """,
    "de": """
        Stopp.
        Nein.
        Warten Sie.
        Moment.
        Wie bitte?
        Hallo?
        Doch.
        Ja, aber nicht am Montag.
        Gut, dann Dienstag.
        Genau das nicht.
        """,
    "es": """
        Para.
        No.
        Espere.
        Un momento.
        ¿Cómo?
        ¿Hola?
        Sí, pero el lunes no.
        Bien, entonces el martes.
        Claro que no.
        Otra vez.
        """,
    "fr": """
        Stop.
        Non.
        Attendez.
        Pardon ?
        Allô ?
        Si.
        Oui, mais pas lundi.
        D'accord pour mardi.
        C'est faux.
        Comment ?
        """,
    "it": """
        Basta.
        No.
        Aspetti.
        Un momento.
        Come?
        Pronto?
        Scusi.
        Sì, ma non lunedì.
        Va bene martedì.
        Ho capito male.
        """,
}
COMPLETE: Table = {
    "en": """
        I want to book on Monday.
        What time is it?
        Yes, I am.
        I think so.
        Where is it from?
        Can you do that?
        What is it about?
        Yes.
        Tell me why?
        That would be great, thank you.
        """,
    "de": """
        Ich möchte am Montag einen Termin.
        Wann haben Sie geöffnet?
        Ja.
        Ja, bitte.
        Das möchte ich.
        Rufen Sie mich an.
        Ich weiß nicht, wo das ist.
        Um zehn Uhr.
        Ich nehme das.
        Wer ist das?
        Ich möchte einen Termin haben.
        """,
    "es": """
        Quiero una cita el lunes.
        ¿Qué hora es?
        Sí.
        Si.
        Sí, por favor.
        A las diez.
        Soy yo.
        Nada más.
        Prefiero esta.
        ¿Dónde está?
        Así es.
        """,
    "fr": """
        Je voudrais un rendez-vous lundi.
        Quelle heure est-il ?
        Oui.
        Oui, s'il vous plaît.
        À dix heures.
        C'est moi.
        Je suis d'accord avec vous.
        Où est-ce ?
        Moi non plus.
        Bien sûr, allons-y.
        Vous êtes où ?
        """,
    "it": """
        Vorrei un appuntamento lunedì.
        Che ore sono?
        Sì.
        Si.
        Sì, per favore.
        Alle dieci.
        Sono io.
        Preferisco questo.
        Va bene così.
        Dov'è?
        Non posso.
        """,
}
INCOMPLETE: Table = {
    "en": """
        I would like to.
        My name is
        My name is.
        And then I
        On Monday and
        I want
        Let me see.
        Well,
        So I...
        I'm looking for a
        Could you book me the
        It's for Mr.
        You know,
        Because
        """,
    "de": """
        Ich hätte gerne
        Ich hätte gern.
        Am Montag und
        Mein Name ist
        Mein Name ist.
        Ich möchte einen
        Können Sie
        Ich brauche einen Termin für
        Also,
        Weil
        Ähm
        Ja, aber...
        Das ist für Frau
        """,
    "es": """
        Me gustaría
        Me gustaría.
        Quiero una cita para
        El lunes y
        Mi nombre es
        Mi nombre es.
        Mi número es el
        Porque
        Bueno,
        A ver.
        Y entonces yo
        Es para la señora
        Eh
        """,
    "fr": """
        Je voudrais
        Je voudrais.
        Je voudrais un rendez-vous pour
        Lundi et
        Je m'appelle
        Mon numéro, c'est
        Parce que
        Parce qu'
        J'
        Euh
        Alors,
        Est-ce que
        C'est pour madame
        """,
    "it": """
        Vorrei
        Vorrei un appuntamento per
        Lunedì e
        Mi chiamo
        Mi chiamo.
        Il mio numero è
        Perché
        Allora,
        Ehm
        Mi piacerebbe
        È per la signora
        Vediamo.
        Cioè
        """,
}
PRESENCE: Table = {
    "en": """
        Hello?
        Hello.
        Ah, hello?
        Hello, hello?
        Hello? Are you there?
        Are you still there?
        Um, are you still there?
        Can you hear me?
        Okay, are you there?
        Is anybody there?
        Anyone?
        Hello? Can you hear me? Hello?
        I'm waiting.
        Hey, did I lose you?
        """,
    "de": """
        Hallo?
        Hallo, hallo?
        Hallo? Sind Sie noch da?
        Sind Sie da?
        Ähm, sind Sie noch dran?
        Hören Sie mich?
        Können Sie mich hören?
        Ist da jemand?
        Bist du noch da?
        Ich warte.
        """,
    "es": """
        ¿Hola?
        ¿Hola, hola?
        ¿Hola? ¿Está ahí?
        ¿Sigue ahí?
        ¿Me oye?
        Oiga, ¿me escucha?
        ¿Hay alguien?
        ¿Aló?
        ¿Sigues ahí?
        Estoy esperando.
        """,
    "fr": """
        Allô ?
        Allô, allô ?
        Allô ? Vous êtes là ?
        Vous êtes toujours là ?
        Êtes-vous là ?
        Est-ce que vous m'entendez ?
        Vous m'entendez ?
        Il y a quelqu'un ?
        Euh, tu es là ?
        J'attends.
        """,
    "it": """
        Pronto?
        Pronto, pronto?
        Pronto? È ancora lì?
        C'è qualcuno?
        Mi sente?
        Mi senti?
        Ehi, ci sei?
        È ancora in linea?
        Riesce a sentirmi?
        Sto aspettando.
        """,
}
NO_PRESENCE: Table = {
    "en": """
        Hello, I want to book an appointment.
        Hello, my name is Anna.
        Is there anything on Monday?
        Are you there on Monday?
        Can you hear the music?
        Okay.
        Mm-hmm.
        Thank you.
        """,
    "de": """
        Hallo, ich möchte einen Termin.
        Sind Sie am Montag da?
        Ja.
        Mhm.
        Hören Sie die Musik?
        """,
    "es": """
        Hola, quiero una cita.
        ¿Está ahí el lunes?
        Sí.
        ¿Hay alguien los lunes?
        """,
    "fr": """
        Bonjour, je voudrais un rendez-vous.
        Vous êtes là lundi ?
        Oui.
        Il y a quelqu'un le lundi ?
        """,
    "it": """
        Buongiorno, vorrei un appuntamento.
        È lì lunedì?
        Sì.
        C'è qualcuno il lunedì?
        """,
}
ASKS: Table = {
    "en": """
        Please confirm the booking by saying yes.
        Just say okay and I will book it.
        Say yes to continue.
        Tell me your name.
        Let me know if that works.
        Is that right?
        To confirm, say yes.
        I will book it, if that's okay.
        """,
    "de": """
        Bitte bestätigen Sie mit Ja.
        Sagen Sie einfach okay, dann buche ich.
        Nennen Sie mir Ihren Namen.
        Ist das richtig?
        Ich buche das, wenn das in Ordnung ist.
        """,
    "es": """
        Confirme la reserva diciendo sí.
        Solo diga vale y lo reservo.
        Dígame su nombre.
        ¿Es correcto?
        Lo reservo, si le parece bien.
        """,
    "fr": """
        Confirmez la réservation en disant oui.
        Dites simplement d'accord et je réserve.
        Dites-moi votre nom.
        Est-ce correct ?
        Je réserve, si cela vous convient.
        """,
    "it": """
        Confermi la prenotazione dicendo sì.
        Dica solo va bene e prenoto.
        Mi dica il suo nome.
        È corretto?
        Prenoto, se le va bene.
        """,
}
TELLS: Table = {
    "en": """
        Your booking is on Monday at ten.
        We are open from nine to five.
        I have confirmed it.
        """,
    "de": """
        Ihr Termin ist am Montag um zehn.
        Wir haben von neun bis fünf geöffnet.
        """,
    "es": """
        Su cita es el lunes a las diez.
        Abrimos de nueve a cinco.
        """,
    "fr": """
        Votre rendez-vous est lundi à dix heures.
        Nous sommes ouverts de neuf à dix-sept heures.
        """,
    "it": """
        Il suo appuntamento è lunedì alle dieci.
        Siamo aperti dalle nove alle cinque.
        """,
}


@pytest.mark.parametrize(("language", "text"), lines(LISTENING))
def test_a_sign_of_listening_does_not_interrupt(language: str, text: str) -> None:
    assert is_backchannel(text, False, language)


@pytest.mark.parametrize(("language", "text"), lines(WORDS))
def test_words_interrupt(language: str, text: str) -> None:
    assert not is_backchannel(text, False, language)


@pytest.mark.parametrize(("language", "text"), lines(COMPLETE))
def test_a_complete_sentence_is_taken_for_one(language: str, text: str) -> None:
    assert sounds_complete(text, language)


@pytest.mark.parametrize(("language", "text"), [*lines(INCOMPLETE), *((language, "") for language in LANGUAGES)])
def test_a_sentence_that_asks_for_more_is_not_complete(language: str, text: str) -> None:
    assert not sounds_complete(text, language)


@pytest.mark.parametrize(("language", "text"), lines(PRESENCE))
def test_a_check_whether_the_agent_is_there_is_known(language: str, text: str) -> None:
    assert is_presence_check(text, language)


@pytest.mark.parametrize(("language", "text"), lines(NO_PRESENCE))
def test_other_words_are_no_check(language: str, text: str) -> None:
    assert not is_presence_check(text, language)


@pytest.mark.parametrize(("language", "text"), lines(ASKS))
def test_an_agent_that_asks_for_words_makes_yes_an_answer(language: str, text: str) -> None:
    assert invites_answer(text, language)


@pytest.mark.parametrize(("language", "text"), lines(TELLS))
def test_an_agent_that_tells_something_does_not(language: str, text: str) -> None:
    assert not invites_answer(text, language)


@pytest.mark.parametrize(
    ("language", "yes"), [("en", "Yes."), ("de", "Ja."), ("es", "Sí."), ("fr", "Oui."), ("it", "Sì.")]
)
def test_yes_is_a_sign_of_listening_until_something_is_asked(language: str, yes: str) -> None:
    assert is_backchannel(yes, False, language)
    assert not is_backchannel(yes, True, language)
    assert is_backchannel("Mhm.", True, language)
    assert sounds_complete(yes, language)


def test_a_language_without_rules_goes_by_hums_and_punctuation() -> None:
    assert is_backchannel("Mm-hmm.", False, "pt-BR")
    assert not is_backchannel("Sim.", False, "pt")
    assert sounds_complete("Quero uma consulta.", "pt")
    assert not sounds_complete("Quero uma,", "pt")
    assert not is_presence_check("Alô?", "pt")


def test_words_of_one_language_say_nothing_in_another() -> None:
    assert not is_backchannel("Vale.", False, "de")
    assert not is_backchannel("Genau.", False, "en")
    assert not is_presence_check("Pronto?", "es")
