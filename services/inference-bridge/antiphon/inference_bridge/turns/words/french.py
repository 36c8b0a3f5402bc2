"""French: `WordRules`. A word that ends in an apostrophe (`j'`, `qu'`) never ends a sentence: `turns.backchannel`."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.turns.words.rules import WordRules, phrases, word_set

FRENCH: Final = WordRules(
    sounds=word_set("euh heu eh ben bah ah oh ouah ouf tiens"),
    agreement=word_set(
        "oui ouais ouaip mouais ok okay d'accord bien bon parfait exact exactement voilà voila entendu compris super "
        "génial certes certainement effectivement absolument évidemment volontiers vrai juste très"
    ),
    agreement_phrases=phrases(
        """
        je vois
        je comprends
        bien sûr
        très bien
        c'est ça
        c'est bien
        c'est bon
        c'est vrai
        c'est exact
        c'est juste
        c'est noté
        ça marche
        ça va
        ah bon
        tout à fait
        pas de problème
        je sais
        en effet
        bien entendu
        """
    ),
    unfinished=word_set(
        "et ou mais donc or car parce que puisque si quand lorsque comme pendant alors puis dont où qui quoi lequel "
        "le la les l un une des du au aux mon ma mes ton ta tes son sa ses notre nos votre vos leur leurs ce cet cette "
        "ces chaque quelque quelques quel quelle quels quelles plusieurs "
        "à de en dans par pour sans sur sous avec chez vers entre contre jusque depuis avant "
        "je tu il elle on nous vous ils elles c'est est sont suis ai as a ont était sera serait avez avons "
        "euh heu hum ben bah enfin très plus assez peutêtre voudrais aimerais veux peux puis peut pourriez pouvez "
        "me te se ne y monsieur madame docteur m mme dr"
    ),
    unfinished_phrases=phrases(
        """
        je voudrais
        j'aimerais
        j'ai besoin
        j'ai
        je veux
        je cherche
        je pense
        je crois
        je m'appelle
        mon nom est
        mon numéro est
        mon numéro c'est
        il y a
        est-ce que
        est ce que
        est-ce qu'il y a
        c'est-à-dire
        voyons voir
        attendez voir
        il faut
        """
    ),
    finished_phrases=phrases(
        """
        oui je peux
        je peux
        je veux bien
        je suis là
        c'est moi
        s'il vous plaît
        tu veux
        si vous voulez
        si vous pouvez
        quand vous voulez
        il y en a
        y en a
        on y va
        allons-y
        j'en ai
        je sais pas
        non plus
        ça y est
        j'y suis
        """
    ),
    may_end=word_set("vous nous moi elle elles lui peux plus assez dedans avec plusieurs y peutêtre quoi"),
    may_end_question=word_set(
        "est sont suis a ont était serait il on où qui comme quand pourquoi donc alors pour sans contre avant "
        "depuis lequel quel quelle pouvez avez pourriez"
    ),
    presence=phrases(
        """
        allô
        allo
        hé
        hého
        hé ho
        ohé
        bonjour
        salut
        coucou
        vous êtes là
        vous êtes toujours là
        êtes-vous là
        êtes-vous toujours là
        êtes-vous encore là
        vous êtes encore là
        tu es là
        t'es là
        tu es toujours là
        t'es toujours là
        es-tu là
        es-tu toujours là
        toujours là
        il y a quelqu'un
        y a quelqu'un
        quelqu'un
        est-ce que vous êtes là
        est-ce que vous êtes toujours là
        est-ce que vous m'entendez
        est-ce qu'il y a quelqu'un
        vous m'entendez
        vous m'entendez toujours
        m'entendez-vous
        tu m'entends
        tu m'entends toujours
        m'entends-tu
        vous m'avez entendu
        vous m'avez compris
        vous êtes en ligne
        vous êtes toujours en ligne
        on a été coupés
        on a été coupé
        que se passe-t-il
        qu'est-ce qui se passe
        j'attends
        j'attends toujours
        """
    ),
    invitations=phrases(
        """
        dites oui
        dis oui
        disant oui
        en disant
        dites simplement
        dites juste
        dites-le
        dites-moi
        dis-moi
        dites non
        dites d'accord
        oui ou non
        confirmez
        veuillez confirmer
        pour confirmer
        veuillez répéter
        répétez
        veuillez répondre
        répondez
        veuillez épeler
        épelez
        veuillez indiquer
        indiquez
        veuillez me donner
        donnez-moi
        il me faut votre
        j'ai besoin de votre
        faites-moi savoir
        si c'est correct
        si c'est bien ça
        si cela vous convient
        si ça vous convient
        si vous êtes d'accord
        """
    ),
)
