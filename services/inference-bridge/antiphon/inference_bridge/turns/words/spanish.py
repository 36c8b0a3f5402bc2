"""Spanish: `WordRules`. Recognisers drop accents, so the words that are told apart by one are listed in both forms."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.turns.words.rules import WordRules, phrases, word_set

SPANISH: Final = WordRules(
    sounds=word_set("eh ehm em ajá aja ay guau uf"),
    agreement=word_set(
        "sí si vale ok okay okey claro bueno bien ya correcto exacto exactamente perfecto entiendo entendido genial "
        "estupendo cierto efectivamente desde luego listo dale comprendo fantástico"
    ),
    agreement_phrases=phrases(
        """
        de acuerdo
        muy bien
        está bien
        esta bien
        ya veo
        ya entiendo
        por supuesto
        eso es
        así es
        asi es
        lo sé
        lo entiendo
        tiene sentido
        es verdad
        desde luego
        claro que sí
        claro que si
        cómo no
        """
    ),
    unfinished=word_set(
        "y e o u pero porque pues si cuando mientras aunque como que quien cual cuyo donde sino entonces además "
        "el la los las lo un una unos unas mi mis tu tus su sus nuestro nuestra este esta estos estas ese esa "
        "esos esas aquel aquella cada algún alguna ningún ninguna otro otra cualquier "
        "a al de del en con por para sin sobre entre hasta desde hacia según contra "
        "yo es son era está están estoy soy ha he han muy más tan eh ehm em mmm este bueno quizá quizás "
        "me te se le les nos quiero quisiera querría necesito puedo puede podría podrías tengo señor señora doctor "
        "doctora sr sra dr dra favor"
    ),
    unfinished_phrases=phrases(
        """
        me gustaría
        quiero que
        quería
        mi número es
        mi nombre es
        me llamo
        o sea
        es decir
        a ver
        vamos a ver
        déjeme ver
        tal vez
        hay que
        creo que
        """
    ),
    finished_phrases=phrases(
        """
        soy yo
        lo es
        lo son
        así es
        eso es
        sí quiero
        sí puedo
        no puedo
        no quiero
        lo quiero
        no es
        no está
        ya está
        por favor
        no tengo
        lo tengo
        uno más
        nada más
        algo más
        no sé que
        """
    ),
    may_end=word_set(
        "está esta están estoy soy más este esta estos estas ese esa esos esas aquel aquella una uno otro "
        "otra ninguna alguna doctor doctora yo"
    ),
    may_end_question=word_set(
        "es son era muy que quien cual donde cuando como quizá quizás quiero puedo puede podría tengo "
        "necesito señor señora por para con entonces"
    ),
    presence=phrases(
        """
        hola
        aló
        alo
        oiga
        oye
        diga
        bueno
        hola hola
        está ahí
        esta ahí
        está usted ahí
        sigue ahí
        sigue usted ahí
        sigues ahí
        estás ahí
        estas ahí
        todavía está ahí
        todavía estás ahí
        hay alguien
        hay alguien ahí
        alguien ahí
        me oye
        me oyes
        me escucha
        me escuchas
        puede oírme
        puedes oírme
        puede escucharme
        me está oyendo
        me está escuchando
        me ha oído
        me ha entendido
        se ha cortado
        se cortó
        sigue en línea
        sigue en la línea
        está en línea
        qué pasa
        estoy esperando
        sigo esperando
        """
    ),
    invitations=phrases(
        """
        diga sí
        diga si
        diga que sí
        di sí
        di que sí
        diciendo sí
        diciendo que sí
        diga no
        solo diga
        sólo diga
        simplemente diga
        diga vale
        dígame
        dime
        dígalo
        sí o no
        si o no
        confirme
        confírmeme
        confirma
        para confirmar
        por favor repita
        repita
        por favor responda
        responda
        responde
        deletree
        indíqueme
        deme su
        deme sus
        necesito su
        necesito que me diga
        hágame saber
        si está de acuerdo
        si le parece bien
        si es correcto
        si es así
        """
    ),
)
