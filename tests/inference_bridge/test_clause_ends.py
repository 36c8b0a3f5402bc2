"""Where a clause of German, Spanish, French or Italian ends, and full stops behind which it does not."""

from __future__ import annotations

import pytest

from antiphon.inference_bridge.languages import Language
from antiphon.inference_bridge.tts.clauses import ClauseSplitter

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("de", "Gut.|Herr Dr. Schmidt kommt am 3. Mai um 9 Uhr.|Danach ist Pause."),
        ("de", "Ja.|Das kostet ca. 20 Min. und z. B. 5 Euro.|Nehmen Sie die Müllerstr. 5, bitte.|Oder die Bahn."),
        (
            "de",
            "Ja.|Im 19. Jahrhundert war es so.|Wilhelm II. war Kaiser.|Wir haben Äpfel, Birnen usw.|Dann gehen wir.",
        ),
        ("de", "Ja.|Ich wohne in Nummer 3.|Die Tür ist offen."),
        ("de", "Ja.|Heute ist der 1. Advent.|Kommen Sie am 24. 12. um neun.|Nr. 5 ist frei."),
        (
            "de",
            "Ja.|Vgl. S. 7.|Er lebte 300 v. Chr. in Rom.|Die 2. Etage bzw. der 3. Stock.|Das ist diese Art.|Gut so.",
        ),
        ("es", "Bien.|El Sr. Pérez y la Dra. Ruiz llegan el 3 de mayo.|Después hay pausa."),
        ("es", "Sí.|Cuesta aprox. 20 euros, p. ej. hoy.|Viva en la Avda. de América, n.º 5.|Gracias."),
        ("es", "Sí.|EE. UU. es grande.|Hay peras, manzanas, etc.|Luego vamos.|Vea la pág. 7.|Ud. decide."),
        ("es", "No.|Veo el mar.|Hoy vienen Dña. Ana y D. Juan."),
        ("fr", "Oui.|M. Martin et Mme Durand arrivent le 3 mai.|Ensuite, pause."),
        ("fr", "Oui.|Il coûte env. 20 euros, p. ex. demain.|Au 5, av. de la Paix.|Merci."),
        ("fr", "Oui.|Des pommes, des poires, etc.|Puis on part.|Voir p. 7.|Tél. 01 23 45 67 89."),
        ("fr", "Oui.|C'est un jeu.|Le 4 janv. à midi.|Vers 300 av. J.-C. à Rome.|MM. Dupont et Martin."),
        ("it", "Bene.|Il sig. Rossi e la dott.ssa Gallo arrivano il 3 maggio.|Poi pausa."),
        ("it", "Sì.|Costa ca. 20 euro, ad es. oggi.|In p.zza Dante, n. 5.|Grazie."),
        ("it", "Sì.|Mele, pere, ecc.|Poi andiamo.|Vedi pag. 7.|Il prof. Neri, l'avv. Verdi e l'ing. Bianchi."),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_clause_ends_where_the_sentence_does(language: Language, sentences: str, size: int) -> None:
    splitter = ClauseSplitter(language)
    text = sentences.replace("|", " ")
    # in pieces of a model's stream; the first clause may end at a comma, these have none there
    clauses = [c for at in range(0, len(text), size) for c in splitter.feed(text[at : at + size])] + splitter.rest()
    assert clauses == sentences.split("|")
