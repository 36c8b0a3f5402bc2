"""German: `WordRules`. Verbs and separable prefixes end sentences here, so a full stop counts for more."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.turns.words.rules import WordRules, phrases, word_set

GERMAN: Final = WordRules(
    sounds=word_set("äh ähm öh öhm hä ach aha achso wow"),
    agreement=word_set(
        "ja jo jap jep jawohl okay ok gut genau richtig stimmt klar sicher schön super prima toll verstehe verstanden "
        "natürlich selbstverständlich alles freilich eben so aso achja perfekt fein wunderbar ordnung korrekt"
    ),
    agreement_phrases=phrases(
        """
        ich verstehe
        ach so
        ach ja
        alles klar
        in ordnung
        na klar
        na gut
        ist gut
        ist klar
        das stimmt
        das ist richtig
        weiß ich
        ich weiß
        sehr gut
        sehr schön
        macht sinn
        gut so
        und weiter
        """
    ),
    unfinished=word_set(
        "und aber oder denn weil dass daß wenn ob falls als während obwohl sondern damit bevor nachdem bis seit "
        "der die das dem den des ein eine einen einem einer eines kein keine keinen mein meine meinen meinem meiner "
        "dein deine deinen ihr ihre ihren ihrem ihrer sein seine seinen seinem seiner unser unsere unseren dieser "
        "diese dieses diesen diesem jeder jede jedes jeden welche welcher welches welchen "
        "zu zum zur für von vom mit bei beim auf an am in im ins um nach aus über unter vor durch gegen ohne zwischen "
        "ich wir er es man ist sind war waren bin wäre hat habe hatte hätte möchte würde könnte kann muss will soll "
        "äh ähm öh öhm hm hmm also naja tja vielleicht bitte sehr ungefähr circa etwa wie was wo wer wann warum "
        "herr frau dr prof"
    ),
    unfinished_phrases=phrases(
        """
        ich hätte gern
        ich hätte gerne
        ich würde gern
        ich würde gerne
        ich möchte gern
        ich möchte gerne
        ich brauche
        ich suche
        ich glaube
        ich denke
        ich meine
        mein name ist
        meine nummer ist
        können sie
        könnten sie
        würden sie
        haben sie
        gibt es
        moment mal
        """
    ),
    finished_phrases=phrases(
        """
        das bin ich
        bin ich
        möchte ich
        will ich
        nehme ich
        brauche ich
        habe ich
        hab ich
        weiß ich
        glaube ich
        denke ich
        meine ich
        ja gerne
        so ist das
        so ist es
        wie lange
        """
    ),
    may_end=word_set(
        "bitte ist sind war waren hat habe hatte kann muss will soll es an auf mit ab aus zu nach vor um ein "
        "das die der vielleicht ihnen ihr mir dir sehr dem den"
    ),
    may_end_question=word_set(
        "was wie wo wer wann warum ich wir er man möchte würde könnte wäre hätte bin seine ihre mein meine "
        "diese dieser dieses keine über unter durch bei in für von"
    ),
    presence=phrases(
        """
        hallo
        haallo
        hallo da
        sind sie da
        sind sie noch da
        bist du da
        bist du noch da
        noch da
        ist da jemand
        ist da wer
        ist jemand da
        ist noch jemand da
        jemand da
        hören sie mich
        hören sie mich noch
        können sie mich hören
        können sie mich noch hören
        hörst du mich
        hörst du mich noch
        kannst du mich hören
        haben sie mich gehört
        haben sie mich verstanden
        sind sie noch dran
        sind sie dran
        bist du noch dran
        sind sie noch am apparat
        sind sie noch in der leitung
        was ist los
        ich warte
        ich warte noch
        ich warte noch immer
        ich warte immer noch
        """
    ),
    invitations=phrases(
        """
        sagen sie ja
        sagen sie einfach
        sagen sie bitte
        bitte sagen sie
        sagen sie mir
        sag ja
        sag einfach
        sag mir
        mit ja
        ja oder nein
        bitte bestätigen
        bestätigen sie
        zur bestätigung
        bitte nennen
        nennen sie
        bitte antworten
        antworten sie
        bitte wiederholen
        wiederholen sie
        bitte buchstabieren
        buchstabieren sie
        geben sie mir
        ich brauche ihre
        ich brauche ihren
        lassen sie mich wissen
        wenn das so stimmt
        wenn das stimmt
        wenn das in ordnung ist
        wenn sie einverstanden sind
        wenn es ihnen recht ist
        """
    ),
)
