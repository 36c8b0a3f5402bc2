"""The words that written Italian shortens: units, currencies, months, abbreviations, acronyms, signs, emoji. Data."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.tts.normalization.continental import Noun, word_set

MONTHS: Final = (
    *("gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno"),
    *("luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"),
)
MONTH_NAMES: Final = {
    **{name: number for number, name in enumerate(MONTHS, 1)},
    **{f"{name[:3]}.": number for number, name in enumerate(MONTHS, 1)},
    "sett.": 9,
}
WEEKDAYS: Final = {
    "lun": "lunedì",
    "mar": "martedì",
    "mer": "mercoledì",
    "gio": "giovedì",
    "ven": "venerdì",
    "sab": "sabato",
    "dom": "domenica",
    "Lun": "lunedì",
    "Mar": "martedì",
    "Mer": "mercoledì",
    "Gio": "giovedì",
    "Ven": "venerdì",
    "Sab": "sabato",
    "Dom": "domenica",
}
SIGNS: Final = {
    "@": "chiocciola", ".": "punto", "-": "trattino", "_": "trattino basso", "/": "barra", ":": "due punti",
    "?": "punto interrogativo", "=": "uguale", "&": "e", "#": "cancelletto", "+": "più",
    "~": "tilde",
    "*": "asterisco", "\\": "barra inversa",
}  # fmt: skip
MATH: Final = {
    "≈": "circa",
    "≥": "maggiore o uguale a",
    "≤": "minore o uguale a",
    "≠": "diverso da",
    "√": "radice di",
    "∞": "infinito",
    "→": "a",
    "×": "per",
    "÷": "diviso",
    "±": "più o meno",
    "<=": "minore di",
    ">=": "maggiore di",
    "∑": "somma",
    "∆": "delta",
}
SCRIPTS: Final = {
    "cjk": "un testo in cinese", "hiragana": "un testo in giapponese", "katakana": "un testo in giapponese",
    "hangul": "un testo in coreano", "arabic": "un testo in arabo", "hebrew": "un testo in ebraico",
    "thai": "un testo in thailandese", "devanagari": "un testo in hindi", "bengali": "un testo in bengalese",
    "tamil": "un testo in tamil", "cyrillic": "un testo in russo", "greek": "un testo in greco",
    "armenian": "un testo in armeno", "georgian": "un testo in georgiano", "": "un testo in un'altra scrittura",
}  # fmt: skip
EMOJI: Final = {
    "👍": "pollice in su", "👎": "pollice in giù", "❤": "cuore", "😀": "faccina sorridente", "😊": "faccina sorridente",
    "🙂": "faccina sorridente", "😂": "risata", "😢": "faccina triste", "😉": "occhiolino", "🎉": "coriandoli",
    "🙏": "mani giunte", "✅": "spunta", "✔": "spunta", "❌": "croce", "⚠": "attenzione", "🔥": "fuoco", "👋": "saluto",
    "👏": "applausi", "💪": "muscoli", "🤔": "faccina pensierosa", "⭐": "stella", "☀": "sole", "🚀": "razzo",
    "📞": "telefono", "👌": "tutto bene", "flag": "bandiera", "": "emoji",
}  # fmt: skip
_CENT: Final = Noun("centesimo", "centesimi")
CURRENCIES: Final = {
    **dict.fromkeys(("€", "EUR", "euro"), (Noun("euro", "euro"), _CENT)),
    **dict.fromkeys(("$", "USD", "dollari", "dollaro"), (Noun("dollaro", "dollari"), _CENT)),
    **dict.fromkeys(("US$",), (Noun("dollaro americano", "dollari americani"), _CENT)),
    **dict.fromkeys(("CA$", "C$", "CAD"), (Noun("dollaro canadese", "dollari canadesi"), _CENT)),
    **dict.fromkeys(("A$", "AU$", "AUD"), (Noun("dollaro australiano", "dollari australiani"), _CENT)),
    **dict.fromkeys(("£", "GBP"), (Noun("sterlina", "sterline", "f"), Noun("penny", "pence"))),
    **dict.fromkeys(("CHF", "Fr."), (Noun("franco", "franchi"), _CENT)),
    **dict.fromkeys(("¥", "JPY"), (Noun("yen", "yen"), None)),
    **dict.fromkeys(("CNY", "RMB"), (Noun("yuan", "yuan"), None)),
    **dict.fromkeys(("₹", "INR"), (Noun("rupia", "rupie", "f"), None)),
    **dict.fromkeys(("R$", "BRL"), (Noun("real", "real"), _CENT)),
    **dict.fromkeys(("₽", "RUB"), (Noun("rublo", "rubli"), Noun("copeco", "copechi"))),
    **dict.fromkeys(("zł", "PLN"), (Noun("zloty", "zloty"), None)),
    **dict.fromkeys(("Kč", "CZK"), (Noun("corona ceca", "corone ceche", "f"), None)),
    **dict.fromkeys(("SEK",), (Noun("corona svedese", "corone svedesi", "f"), None)),
    **dict.fromkeys(("DKK",), (Noun("corona danese", "corone danesi", "f"), None)),
    **dict.fromkeys(("NOK",), (Noun("corona norvegese", "corone norvegesi", "f"), None)),
    **dict.fromkeys(("kr",), (Noun("corona", "corone", "f"), None)),
    **dict.fromkeys(("₺", "TRY"), (Noun("lira turca", "lire turche", "f"), None)),
    **dict.fromkeys(("₩", "KRW"), (Noun("won", "won"), None)),
    **dict.fromkeys(("₪", "ILS"), (Noun("shekel", "shekel"), None)),
    **dict.fromkeys(("₴", "UAH"), (Noun("grivnia", "grivnie", "f"), None)),
    **dict.fromkeys(("MX$", "MXN"), (Noun("peso messicano", "pesos messicani"), _CENT)),
    **dict.fromkeys(("₤",), (Noun("lira", "lire", "f"), None)),
    **dict.fromkeys(("₿", "BTC"), (Noun("bitcoin", "bitcoin"), None)),
    **dict.fromkeys(("¢",), (_CENT, None)),
}
MAGNITUDES: Final = {
    **dict.fromkeys(("M", "mln", "mln.", "Mio", "milione", "milioni"), Noun("milione", "milioni")),
    **dict.fromkeys(("mld", "mld.", "Mld", "B", "miliardo", "miliardi"), Noun("miliardo", "miliardi")),
}
UNITS: Final = {
    **{
        sign: Noun(f"{stem}o", f"{stem}i")
        for sign, stem in {
            "mm": "millimetr", "cm": "centimetr", "m": "metr", "mt": "metr", "km": "chilometr", "l": "litr",
            "L": "litr",
            "lt": "litr", "ml": "millilitr", "cl": "centilitr", "dl": "decilitr", "g": "gramm", "gr": "gramm",
            "kg": "chilogramm", "Kg": "chilogramm", "mg": "milligramm", "min": "minut", "min.": "minut", "s": "second",
            "sec": "second", "sec.": "second", "ms": "millisecond",
        }.items()
    },
    **{
        sign: Noun(word, word)
        for sign, word in {
            "W": "watt", "kW": "chilowatt", "kWh": "chilowattora", "V": "volt", "Hz": "hertz", "kHz": "chilohertz",
            "MHz": "megahertz", "GHz": "gigahertz", "KB": "chilobyte", "kB": "chilobyte", "MB": "megabyte",
            "GB": "gigabyte", "TB": "terabyte", "dB": "decibel", "px": "pixel", "‰": "per mille",
            "Mbit/s": "megabit al secondo", "Mbps": "megabit al secondo", "kcal": "chilocalorie",
        }.items()
    },
    "%": Noun("per cento", "per cento", ""),
    "hg": Noun("etto", "etti"),
    "h": Noun("ora", "ore", "f"),
    "t": Noun("tonnellata", "tonnellate", "f"),
    "ha": Noun("ettaro", "ettari"),
    **dict.fromkeys(("m²", "m2", "mq"), Noun("metro quadrato", "metri quadrati")),
    **dict.fromkeys(("km²", "km2", "kmq"), Noun("chilometro quadrato", "chilometri quadrati")),
    **dict.fromkeys(("cm²",), Noun("centimetro quadrato", "centimetri quadrati")),
    **dict.fromkeys(("m³", "m3", "mc"), Noun("metro cubo", "metri cubi")),
    "km/h": Noun("chilometro all'ora", "chilometri all'ora"),
    "m/s": Noun("metro al secondo", "metri al secondo"),
    **dict.fromkeys(("°C", "ºC", "° C"), Noun("grado Celsius", "gradi Celsius")),
    **dict.fromkeys(("°F", "ºF"), Noun("grado Fahrenheit", "gradi Fahrenheit")),
}  # fmt: skip
ABBREVIATIONS: Final = {
    "p. es.": "per esempio", "ad es.": "ad esempio", "es.": "esempio", "ecc.": "eccetera", "etc.": "eccetera",
    "sig.": "signor", "sig.ra": "signora", "sig.na": "signorina", "sigg.": "signori", "dott.": "dottor",
    "dott.ssa": "dottoressa", "dr.": "dottor", "dr.ssa": "dottoressa", "prof.": "professor",
    "prof.ssa": "professoressa",
    "ing.": "ingegner", "avv.": "avvocato", "arch.": "architetto", "geom.": "geometra", "rag.": "ragionier",
    "on.": "onorevole",
    "P.zza": "Piazza", "p.zza": "piazza", "V.le": "Viale", "v.le": "viale", "C.so": "Corso", "c.so": "corso",
    "L.go": "Largo", "P.le": "Piazzale", "ca.": "circa", "c.a.": "corrente anno", "pag.": "pagina", "pagg.": "pagine",
    "cap.": "capitolo", "art.": "articolo", "vol.": "volume", "tel.": "telefono", "cell.": "cellulare",
    "n.": "numero",
    "nn.": "numeri", "No.": "numero", "a.C.": "avanti Cristo", "d.C.": "dopo Cristo", "S.p.A.": "S P A",
    "S.r.l.": "S R L",
    "max.": "massimo", "min.": "minimo", "incl.": "incluso", "escl.": "escluso", "vs.": "versus", "cfr.": "confronta",
    "rif.": "riferimento", "gent.": "gentile", "gent.ma": "gentilissima", "gent.mo": "gentilissimo",
    "C.F.": "codice fiscale", "egr.": "egregio", "spett.": "spettabile", "c.m.": "corrente mese",
    "tot.": "totale", "lun.": "lunedì", "mar.": "martedì", "mer.": "mercoledì", "gio.": "giovedì", "ven.": "venerdì",
    "sab.": "sabato", "dom.": "domenica", "gen.": "gennaio", "feb.": "febbraio", "apr.": "aprile", "mag.": "maggio",
    "giu.": "giugno", "lug.": "luglio", "ago.": "agosto", "sett.": "settembre", "set.": "settembre",
    "ott.": "ottobre",
    "nov.": "novembre", "dic.": "dicembre", "S.": "San", "U.E.": "Unione Europea", "c/o": "presso", "sec.": "secolo",
}  # fmt: skip
NUMBERED_ONLY: Final = word_set("art. cap. vol. No. n. nn. min. max. sec. set. mar. dom. tot. gen. mag. apr. ott.")
MORE_ABBREVIATIONS: Final = frozenset(("p.", "ad."))
"""Those that have a rule of their own."""
CLOSING: Final = frozenset(("ecc.", "etc.", "a.C.", "d.C.", "S.p.A.", "S.r.l.", "U.E.", "min."))
PHRASES: Final = {
    "UE": "Unione Europea", "SpA": "S P A", "Tel": "Telefono", "P.IVA": "partita IVA", "P. IVA": "partita IVA",
    "Srl": "S R L", "d.c.": "dopo Cristo", "cmq": "comunque", "nr": "numero",
    "dott": "dottor", "sig": "signor",
}  # fmt: skip
SAID_AS_WORDS: Final = word_set(
    "ONU NATO UNESCO UNICEF NASA RAI IVA INPS INAIL ENEL ENI FIAT COOP CONAD IKEA ISTAT TAR TIM SIM PIN PUK IBAN "
    "AIDS COVID OMS SPID IMU TARI IRPEF ISEE ATM ANAS CAP ASL LASER FIFA UEFA RAM ROM IL LO LA I GLI LE DI DA IN "
    "CON SU PER TRA FRA E O NON SI CHE UN UNA SE AL DEL"
) - frozenset(("OMS", "ATM"))  # fmt: skip
SPELLED: Final = frozenset(("DVD", "ATM"))
FEMININE: Final = word_set(
    "notte notti parte parti volta mano mani classe classi chiave chiavi moglie madre gente carne luce luci foto "
    "moto radio auto email mail frase frasi fine voce voci rete reti nave navi"
)
MASCULINE_IN_A: Final = word_set(
    "problema programma tema sistema clima pianeta diploma poeta turista artista autista dramma panorama cinema "
    "schema telegramma chilogramma"
)
NOT_NOUNS: Final = word_set(
    "di del della dei degli delle da dal dalla a al alla e ed o od in nel nella con per che è sono era su sul "
    "sulla tra fra se non ma come più meno ha gennaio febbraio marzo aprile maggio giugno luglio agosto settembre "
    "ottobre novembre dicembre milione milioni miliardo miliardi"
)
FEMININE_NAMES: Final = word_set("Elisabetta Caterina Maria Vittoria Giovanna Margherita Cristina Anna Isabella")
REGNAL_NAMES: Final = FEMININE_NAMES | word_set(
    "Emanuele Umberto Carlo Luigi Enrico Federico Francesco Napoleone Giovanni Paolo Pio Leone Benedetto Filippo "
    "Alessandro Giulio Innocenzo Amedeo Alberto Felice Ferdinando Guglielmo Riccardo Edoardo Giorgio Nicola "
    "Pietro"
)
