"""Italian: `WordRules`. Recognisers drop accents, so the words that are told apart by one are listed in both forms."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.turns.words.rules import WordRules, phrases, word_set

ITALIAN: Final = WordRules(
    sounds=word_set("eh ehm mah beh ah oh uff wow"),
    agreement=word_set(
        "sì si sissì ok okay bene certo giusto esatto esattamente capito capisco perfetto d'accordo ottimo bello già "
        "infatti ecco certamente naturalmente vedo chiaro benissimo ovvio ovviamente vero sicuro ricevuto corretto bè"
    ),
    agreement_phrases=phrases(
        """
        va bene
        ho capito
        molto bene
        d'accordo
        ha senso
        lo so
        è vero
        è giusto
        per forza
        di sicuro
        come no
        tutto chiaro
        va benissimo
        ah ecco
        vada avanti
        """
    ),
    unfinished=word_set(
        "e ed o oppure ma però perché siccome se quando mentre anche come che chi cui dove quindi allora poi "
        "il lo la i gli le un uno una mio mia miei mie tuo tua suo sua suoi sue nostro nostra vostro vostra loro "
        "questo questa questi queste quello quella quelli quelle ogni qualche alcuni alcune quale quali "
        "a ad al allo alla ai agli alle di del dello della dei degli delle da dal dalla in nel nella nei nelle con per "
        "su sul sulla senza tra fra verso fino contro dopo prima "
        "io noi è sono era ero sia ho ha hanno molto più così ehm eh cioè insomma magari forse voglio vorrei posso può "
        "potrebbe devo mi ti si ci vi ne signor signora dottor dottoressa sig dott favore"
    ),
    unfinished_phrases=phrases(
        """
        mi piacerebbe
        avrei bisogno
        ho bisogno
        mi serve
        mi servirebbe
        mi chiamo
        il mio nome è
        il mio numero è
        vorrei
        c'è
        ci sono
        penso
        credo
        vediamo
        fammi pensare
        mi faccia pensare
        un attimo
        """
    ),
    finished_phrases=phrases(
        """
        sono io
        lo sono
        lo è
        c'è
        non c'è
        non ho
        ce l'ho
        lo voglio
        non posso
        sì posso
        per favore
        di più
        non è così
        è così
        va bene così
        così così
        come no
        nemmeno io
        """
    ),
    may_end=word_set(
        "questo questa questi queste quello quella quelli quelle mio mia miei mie suo sua tuo tua più così "
        "prima dopo uno una io poi anche noi loro dottoressa signora forse"
    ),
    may_end_question=word_set(
        "è sono era ho ha hanno molto che chi dove quando come cui quale quali perché quindi allora voglio "
        "posso può devo contro senza per con da"
    ),
    presence=phrases(
        """
        pronto
        ciao
        ehi
        ehilà
        salve
        buongiorno
        c'è
        ci sei
        è lì
        è ancora lì
        sei lì
        sei ancora lì
        c'è ancora
        ci sei ancora
        lei è lì
        lei è ancora lì
        è ancora in linea
        sei ancora in linea
        è in linea
        c'è qualcuno
        c'è nessuno
        qualcuno
        mi sente
        mi senti
        mi sente ancora
        mi senti ancora
        riesce a sentirmi
        riesci a sentirmi
        può sentirmi
        mi ha sentito
        mi hai sentito
        mi ha capito
        è caduta la linea
        cosa succede
        che succede
        sto aspettando
        sto ancora aspettando
        aspetto
        """
    ),
    invitations=phrases(
        """
        dica sì
        dica si
        dica di sì
        di' sì
        dicendo sì
        dicendo si
        dicendo di sì
        dica no
        dica solo
        dica pure
        dica semplicemente
        dica va bene
        mi dica
        dimmi
        sì o no
        si o no
        confermi
        conferma
        per confermare
        per favore ripeta
        ripeta
        risponda
        sillabi
        mi indichi
        mi dia il suo
        mi dia la sua
        ho bisogno del suo
        ho bisogno della sua
        mi faccia sapere
        se va bene
        se le va bene
        se è corretto
        se è d'accordo
        se per lei va bene
        """
    ),
)
