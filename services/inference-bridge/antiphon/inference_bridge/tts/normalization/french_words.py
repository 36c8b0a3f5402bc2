"""The words that written French shortens: units, currencies, months, abbreviations, acronyms, signs, emoji. Data."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.tts.normalization.continental import Noun, word_set

MONTHS: Final = (
    *("janvier", "février", "mars", "avril", "mai", "juin"),
    *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
)
MONTH_NAMES: Final = {
    **{name: number for number, name in enumerate(MONTHS, 1)},
    "janv.": 1,
    "févr.": 2,
    "fév.": 2,
    "avr.": 4,
    "juil.": 7,
    "sept.": 9,
    "oct.": 10,
    "nov.": 11,
    "déc.": 12,
    "fevrier": 2,
    "aout": 8,
    "decembre": 12,
}
WEEKDAYS: Final = {
    "lun": "lundi",
    "mar": "mardi",
    "mer": "mercredi",
    "jeu": "jeudi",
    "ven": "vendredi",
    "sam": "samedi",
    "dim": "dimanche",
    "Lun": "lundi",
    "Mar": "mardi",
    "Mer": "mercredi",
    "Jeu": "jeudi",
    "Ven": "vendredi",
    "Sam": "samedi",
    "Dim": "dimanche",
}
SIGNS: Final = {
    "@": "arobase", ".": "point", "-": "tiret", "_": "tiret bas", "/": "slash", ":": "deux points",
    "?": "point d'interrogation", "=": "égale", "&": "et", "#": "dièse", "%": "pour cent", "+": "plus", "~": "tilde",
    "*": "étoile", "\\": "antislash",
}  # fmt: skip
MATH: Final = {
    "≈": "environ",
    "≥": "supérieur ou égal à",
    "≤": "inférieur ou égal à",
    "≠": "différent de",
    "√": "racine de",
    "∞": "infini",
    "→": "vers",
    "×": "fois",
    "÷": "divisé par",
    "±": "plus ou moins",
    "<=": "inférieur à",
    ">=": "supérieur à",
    "∑": "somme",
    "∆": "delta",
}
SCRIPTS: Final = {
    "cjk": "un texte en chinois", "hiragana": "un texte en japonais", "katakana": "un texte en japonais",
    "hangul": "un texte en coréen", "arabic": "un texte en arabe", "hebrew": "un texte en hébreu",
    "thai": "un texte en thaï", "devanagari": "un texte en hindi", "bengali": "un texte en bengali",
    "tamil": "un texte en tamoul", "cyrillic": "un texte en russe", "greek": "un texte en grec",
    "armenian": "un texte en arménien", "georgian": "un texte en géorgien", "": "un texte dans une autre écriture",
}  # fmt: skip
EMOJI: Final = {
    "👍": "pouce levé", "👎": "pouce baissé", "❤": "cœur", "😀": "visage souriant", "😊": "visage souriant",
    "🙂": "visage souriant", "😂": "rires aux larmes", "😢": "visage triste", "😉": "clin d'œil", "🎉": "confettis",
    "🙏": "mains jointes", "✅": "coche", "✔": "coche", "❌": "croix", "⚠": "attention", "🔥": "feu", "👋": "salut",
    "👏": "applaudissements", "💪": "bras musclé", "🤔": "visage pensif", "⭐": "étoile", "☀": "soleil", "🚀": "fusée",
    "📞": "téléphone", "👌": "tout va bien", "flag": "drapeau", "": "émoji",
}  # fmt: skip
_CENTIME: Final = Noun("centime", "centimes")
_CENT: Final = Noun("cent", "cents")
CURRENCIES: Final = {
    **dict.fromkeys(("€", "EUR", "euros", "euro"), (Noun("euro", "euros"), _CENTIME)),
    **dict.fromkeys(("$", "USD", "dollars", "dollar"), (Noun("dollar", "dollars"), _CENT)),
    **dict.fromkeys(("US$", "$US"), (Noun("dollar américain", "dollars américains"), _CENT)),
    **dict.fromkeys(("CA$", "C$", "$CA", "CAD", "$ CA"), (Noun("dollar canadien", "dollars canadiens"), _CENT)),
    **dict.fromkeys(("A$", "AU$", "AUD"), (Noun("dollar australien", "dollars australiens"), _CENT)),
    **dict.fromkeys(("£", "GBP"), (Noun("livre", "livres", "f"), Noun("penny", "pence"))),
    **dict.fromkeys(("CHF", "Fr."), (Noun("franc", "francs"), _CENTIME)),
    **dict.fromkeys(("¥", "JPY"), (Noun("yen", "yens"), None)),
    **dict.fromkeys(("CNY", "RMB"), (Noun("yuan", "yuans"), None)),
    **dict.fromkeys(("₹", "INR"), (Noun("roupie", "roupies", "f"), None)),
    **dict.fromkeys(("R$", "BRL"), (Noun("réal", "réaux"), _CENTIME)),
    **dict.fromkeys(("₽", "RUB"), (Noun("rouble", "roubles"), Noun("kopeck", "kopecks"))),
    **dict.fromkeys(("zł", "PLN"), (Noun("zloty", "zlotys"), None)),
    **dict.fromkeys(("Kč", "CZK"), (Noun("couronne tchèque", "couronnes tchèques", "f"), None)),
    **dict.fromkeys(("SEK",), (Noun("couronne suédoise", "couronnes suédoises", "f"), None)),
    **dict.fromkeys(("DKK",), (Noun("couronne danoise", "couronnes danoises", "f"), None)),
    **dict.fromkeys(("NOK",), (Noun("couronne norvégienne", "couronnes norvégiennes", "f"), None)),
    **dict.fromkeys(("kr",), (Noun("couronne", "couronnes", "f"), None)),
    **dict.fromkeys(("₺", "TRY"), (Noun("livre turque", "livres turques", "f"), None)),
    **dict.fromkeys(("₩", "KRW"), (Noun("won", "wons"), None)),
    **dict.fromkeys(("₪", "ILS"), (Noun("shekel", "shekels"), None)),
    **dict.fromkeys(("₴", "UAH"), (Noun("hryvnia", "hryvnias", "f"), None)),
    **dict.fromkeys(("MX$", "MXN"), (Noun("peso mexicain", "pesos mexicains"), None)),
    **dict.fromkeys(("MAD", "DH"), (Noun("dirham", "dirhams"), _CENTIME)),
    **dict.fromkeys(("XOF", "FCFA"), (Noun("franc C F A", "francs C F A"), None)),
    **dict.fromkeys(("₿", "BTC"), (Noun("bitcoin", "bitcoins"), None)),
    **dict.fromkeys(("¢",), (_CENT, None)),
}
_MILLION: Final = Noun("million", "millions")
MAGNITUDES: Final = {
    **dict.fromkeys(("M", "Mio", "million", "millions"), _MILLION),
    **dict.fromkeys(("Md", "Mds", "Mrd", "B", "milliard", "milliards"), Noun("milliard", "milliards")),
}
UNITS: Final = {
    **{
        sign: Noun(one, one + "s")
        for sign, one in {
            "mm": "millimètre", "cm": "centimètre", "m": "mètre", "km": "kilomètre", "ha": "hectare", "l": "litre",
            "L": "litre", "ml": "millilitre", "mL": "millilitre", "cl": "centilitre", "dl": "décilitre", "g": "gramme",
            "kg": "kilogramme", "mg": "milligramme", "W": "watt", "kW": "kilowatt", "V": "volt", "dB": "décibel",
            "Ko": "kilooctet", "ko": "kilooctet", "Mo": "mégaoctet", "Go": "gigaoctet", "To": "téraoctet",
            "KB": "kilooctet", "MB": "mégaoctet", "GB": "gigaoctet", "TB": "téraoctet", "px": "pixel", "cal": "calorie",
        }.items()
    },
    "Hz": Noun("hertz", "hertz"),
    "kHz": Noun("kilohertz", "kilohertz"),
    "MHz": Noun("mégahertz", "mégahertz"),
    "GHz": Noun("gigahertz", "gigahertz"),
    **dict.fromkeys(("min", "min.", "mn"), Noun("minute", "minutes", "f")),
    **dict.fromkeys(("s", "sec", "sec."), Noun("seconde", "secondes", "f")),
    "ms": Noun("milliseconde", "millisecondes", "f"),
    "t": Noun("tonne", "tonnes", "f"),
    **dict.fromkeys(("m²", "m2"), Noun("mètre carré", "mètres carrés")),
    **dict.fromkeys(("km²", "km2"), Noun("kilomètre carré", "kilomètres carrés")),
    **dict.fromkeys(("cm²",), Noun("centimètre carré", "centimètres carrés")),
    **dict.fromkeys(("m³", "m3"), Noun("mètre cube", "mètres cubes")),
    "km/h": Noun("kilomètre à l'heure", "kilomètres à l'heure"),
    "m/s": Noun("mètre par seconde", "mètres par seconde"),
    "kWh": Noun("kilowatt heure", "kilowatts heure"),
    "kcal": Noun("kilocalorie", "kilocalories", "f"),
    "Mbit/s": Noun("mégabit par seconde", "mégabits par seconde"),
    "Mo/s": Noun("mégaoctet par seconde", "mégaoctets par seconde"),
    **dict.fromkeys(("°C", "ºC", "° C"), Noun("degré Celsius", "degrés Celsius")),
    **dict.fromkeys(("°F", "ºF"), Noun("degré Fahrenheit", "degrés Fahrenheit")),
    "°": Noun("degré", "degrés"),
    "%": Noun("pour cent", "pour cent"),
    "‰": Noun("pour mille", "pour mille"),
}  # fmt: skip
ABBREVIATIONS: Final = {
    "p. ex.": "par exemple", "c.-à-d.": "c'est-à-dire", "c. à d.": "c'est-à-dire", "etc.": "et cetera",
    "M.": "Monsieur",
    "MM.": "Messieurs", "Mme.": "Madame", "Mlle.": "Mademoiselle", "Pr.": "professeur", "Dr.": "docteur",
    "Me.": "Maître",
    "av.": "avenue", "boul.": "boulevard", "bd.": "boulevard", "pl.": "place", "env.": "environ", "tél.": "téléphone",
    "p.": "page", "chap.": "chapitre", "art.": "article", "vol.": "volume", "éd.": "édition",
    "apr. J.-C.": "après Jésus-Christ",
    "av. J.-C.": "avant Jésus-Christ", "J.-C.": "Jésus-Christ", "max.": "maximum", "min.": "minimum",
    "incl.": "inclus",
    "vs.": "versus", "cf.": "confer", "réf.": "référence", "dép.": "département", "hab.": "habitants",
    "lun.": "lundi",
    "mar.": "mardi", "mer.": "mercredi", "jeu.": "jeudi", "ven.": "vendredi", "sam.": "samedi", "dim.": "dimanche",
    "janv.": "janvier", "févr.": "février", "fév.": "février", "avr.": "avril", "juil.": "juillet",
    "sept.": "septembre",
    "oct.": "octobre", "nov.": "novembre", "déc.": "décembre", "ap.": "après", "bât.": "bâtiment",
    "apt.": "appartement",
    "No.": "numéro", "Fg.": "faubourg", "Ste.": "Sainte", "St.": "Saint", "ex.": "exemple", "sec.": "secondes",
}  # fmt: skip
NUMBERED_ONLY: Final = word_set("art. vol. chap. mer. jeu. mar. sam. max. min. sec. ex. pl. No. p. sept. ap. éd. hab.")
MORE_ABBREVIATIONS: Final = frozenset(("M.", "J."))
"""Those that have a rule of their own."""
CLOSING: Final = frozenset(("etc.", "J.-C.", "av. J.-C.", "apr. J.-C.", "min.", "hab."))
PHRASES: Final = {
    "Mme": "Madame", "Tél": "Téléphone", "Tel": "Téléphone", "Cie": "compagnie", "Mmes": "Mesdames",
    "Mlle": "Mademoiselle", "Mlles": "Mesdemoiselles", "Dr": "docteur",
    "Drs": "docteurs", "Pr": "professeur", "Ste": "Sainte", "St": "Saint", "bd": "boulevard", "Bd": "boulevard",
    "svp": "s'il vous plaît", "SVP": "s'il vous plaît", "stp": "s'il te plaît", "RDV": "rendez-vous",
    "rdv": "rendez-vous",
    "UE": "Union européenne", "qqn": "quelqu'un", "qqch": "quelque chose", "bcp": "beaucoup", "CP": "code postal",
}  # fmt: skip
SAID_AS_WORDS: Final = word_set(
    "ONU OTAN UNESCO UNICEF NASA PIN PUK IBAN SIM SIDA COVID LASER OPEP FIFA UEFA IKEA INSEE CAF FNAC SMIC CROUS "
    "URSSAF BIC SIRET SIREN PACS ZAC ADSL RAM ROM ENA CNIL ANPE LE LA LES DE DU DES ET EN UN UNE AU AUX NE PAS "
    "QUE QUI SUR PAR ON IL TU JE NOUS VOUS"
) - frozenset(("ADSL",))  # fmt: skip
SPELLED: Final = word_set("SNCF RATP ADSL ANPE CFDT IUT OGM EDF ENT USA")
FEMININE: Final = word_set(
    "minute minutes heure heures seconde secondes personne personnes page pages fois nuit nuits chambre chambres "
    "place places semaine semaines année années journée tonne tonnes pièce pièces table tables étape étapes femme "
    "femmes fille filles voiture voitures maison maisons ville villes rue rues porte portes carte cartes lettre "
    "lettres ligne lignes livre livres image images photo photos phrase phrases part parts tasse tasses bouteille "
    "bouteilles boîte boîtes demande demandes commande commandes facture factures offre offres réponse réponses "
    "note notes chose choses idée idées étoile étoiles marche marches main mains adresse adresses banque école "
    "roupie roupies couronne couronnes tranche tranches vidéo vidéos clé clés salle salles douche vue couche"
)
NOT_NOUNS: Final = word_set("de des du à au aux et ou en est sont dans par pour que qui avec sur sous entre")
FEMININE_ENDINGS: Final = (
    "tion",
    "tions",
    "sion",
    "sions",
    "té",
    "tés",
    "ette",
    "ettes",
    "ance",
    "ances",
    "ence",
    "ences",
    "esse",
)
REGNAL_NAMES: Final = word_set(
    "François Napoléon Louis Charles Henri Philippe Jean Nicolas Alexandre Pierre Élisabeth Elisabeth Guillaume "
    "Édouard Richard Georges Jacques Léopold Albert Baudouin Léon Pie Benoît Paul Frédéric Catherine Marie "
    "Victoria Clovis"
)
FEMININE_NAMES: Final = word_set("Élisabeth Elisabeth Catherine Marie Victoria Anne Marguerite")
