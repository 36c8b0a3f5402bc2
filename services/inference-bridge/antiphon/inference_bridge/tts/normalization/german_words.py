"""The words that written German shortens: units, currencies, months, abbreviations, acronyms, signs, emoji. Data."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.tts.normalization.continental import Noun, word_set

MONTHS: Final = (
    *("Januar", "Februar", "März", "April", "Mai", "Juni"),
    *("Juli", "August", "September", "Oktober", "November", "Dezember"),
)
MONTH_NAMES: Final = {
    **{name.lower(): number for number, name in enumerate(MONTHS, 1)},
    **{f"{name.lower()[:3]}.": number for number, name in enumerate(MONTHS, 1) if name != "Mai"},
    "jänner": 1,
    "feber": 2,
    "sept.": 9,
}
WEEKDAYS: Final = {
    "Mo": "Montag",
    "Di": "Dienstag",
    "Mi": "Mittwoch",
    "Do": "Donnerstag",
    "Fr": "Freitag",
    "Sa": "Samstag",
    "So": "Sonntag",
}
SIGNS: Final = {
    "@": "at", ".": "Punkt", "-": "Bindestrich", "_": "Unterstrich", "/": "Schrägstrich", ":": "Doppelpunkt",
    "?": "Fragezeichen", "=": "gleich", "&": "und", "#": "Raute", "%": "Prozent", "+": "plus", "~": "Tilde",
    "*": "Stern", "\\": "Backslash", "§": "Paragraph",
}  # fmt: skip
MATH: Final = {
    "≈": "ungefähr",
    "≥": "mindestens",
    "≤": "höchstens",
    "≠": "ungleich",
    "√": "Wurzel aus",
    "∞": "unendlich",
    "→": "nach",
    "×": "mal",
    "÷": "geteilt durch",
    "±": "plus minus",
    "<=": "kleiner als",
    ">=": "größer als",
    "∑": "Summe",
    "∆": "Delta",
}
SCRIPTS: Final = {
    "cjk": "ein Text auf Chinesisch", "hiragana": "ein Text auf Japanisch", "katakana": "ein Text auf Japanisch",
    "hangul": "ein Text auf Koreanisch", "arabic": "ein Text auf Arabisch", "hebrew": "ein Text auf Hebräisch",
    "thai": "ein Text auf Thailändisch", "devanagari": "ein Text auf Hindi", "bengali": "ein Text auf Bengalisch",
    "tamil": "ein Text auf Tamil", "cyrillic": "ein Text auf Russisch", "greek": "ein Text auf Griechisch",
    "armenian": "ein Text auf Armenisch", "georgian": "ein Text auf Georgisch",
    "": "ein Text in einer anderen Schrift",
}  # fmt: skip
EMOJI: Final = {
    "👍": "Daumen hoch", "👎": "Daumen runter", "❤": "Herz", "😀": "lachendes Gesicht", "😊": "lächelndes Gesicht",
    "🙂": "lächelndes Gesicht", "😂": "Freudentränen", "😢": "weinendes Gesicht", "😉": "Augenzwinkern",
    "🎉": "Konfetti", "🙏": "gefaltete Hände", "✅": "Häkchen", "✔": "Häkchen", "❌": "Kreuz", "⚠": "Achtung",
    "🔥": "Feuer", "👋": "winkende Hand", "👏": "Applaus", "💪": "starker Arm", "🤔": "nachdenkliches Gesicht",
    "⭐": "Stern", "☀": "Sonne", "🚀": "Rakete", "📞": "Telefon", "👌": "alles gut", "flag": "Flagge", "": "Emoji",
}  # fmt: skip
_CENT: Final = Noun("Cent", "Cent")
_KRONE_OERE: Final = Noun("Öre", "Öre")
CURRENCIES: Final = {
    **dict.fromkeys(("€", "EUR", "Euro"), (Noun("Euro", "Euro"), _CENT)),
    **dict.fromkeys(("$", "USD", "Dollar"), (Noun("Dollar", "Dollar"), _CENT)),
    **dict.fromkeys(("US$", "US-$", "US-Dollar"), (Noun("US Dollar", "US Dollar"), _CENT)),
    **dict.fromkeys(("CA$", "C$", "CAD"), (Noun("kanadischer Dollar", "kanadische Dollar"), _CENT)),
    **dict.fromkeys(("A$", "AU$", "AUD"), (Noun("australischer Dollar", "australische Dollar"), _CENT)),
    **dict.fromkeys(("£", "GBP"), (Noun("Pfund", "Pfund"), Noun("Penny", "Pence"))),
    **dict.fromkeys(("CHF", "SFr.", "Franken"), (Noun("Franken", "Franken"), Noun("Rappen", "Rappen"))),
    **dict.fromkeys(("¥", "JPY"), (Noun("Yen", "Yen"), None)),
    **dict.fromkeys(("CNY", "RMB"), (Noun("Yuan", "Yuan"), None)),
    **dict.fromkeys(("₹", "INR"), (Noun("Rupie", "Rupien", "f"), Noun("Paisa", "Paisa"))),
    **dict.fromkeys(("₽", "RUB"), (Noun("Rubel", "Rubel"), Noun("Kopeke", "Kopeken", "f"))),
    **dict.fromkeys(("zł", "PLN"), (Noun("Złoty", "Złoty"), Noun("Groschen", "Groschen"))),
    **dict.fromkeys(("Kč", "CZK"), (Noun("tschechische Krone", "tschechische Kronen", "f"), Noun("Heller", "Heller"))),
    **dict.fromkeys(("SEK",), (Noun("schwedische Krone", "schwedische Kronen", "f"), _KRONE_OERE)),
    **dict.fromkeys(("DKK",), (Noun("dänische Krone", "dänische Kronen", "f"), _KRONE_OERE)),
    **dict.fromkeys(("NOK",), (Noun("norwegische Krone", "norwegische Kronen", "f"), _KRONE_OERE)),
    **dict.fromkeys(("kr",), (Noun("Krone", "Kronen", "f"), _KRONE_OERE)),
    **dict.fromkeys(("₺", "TRY"), (Noun("Lira", "Lira", "f"), Noun("Kuruş", "Kuruş"))),
    **dict.fromkeys(("₩", "KRW"), (Noun("Won", "Won"), None)),
    **dict.fromkeys(("₪", "ILS"), (Noun("Schekel", "Schekel"), None)),
    **dict.fromkeys(("₴", "UAH"), (Noun("Hrywnja", "Hrywnja", "f"), None)),
    **dict.fromkeys(("R$", "BRL"), (Noun("Real", "Reais"), _CENT)),
    **dict.fromkeys(("MX$", "MXN"), (Noun("mexikanischer Peso", "mexikanische Pesos"), _CENT)),
    **dict.fromkeys(("₿", "BTC"), (Noun("Bitcoin", "Bitcoin"), None)),
    **dict.fromkeys(("¢", "ct"), (_CENT, None)),
}
_MILLION: Final = Noun("Million", "Millionen", "f")
_BILLION: Final = Noun("Milliarde", "Milliarden", "f")
MAGNITUDES: Final = {
    **dict.fromkeys(("Mio.", "Mio", "Mill.", "M", "Million", "Millionen"), _MILLION),
    **dict.fromkeys(("Mrd.", "Mrd", "Md", "B", "Milliarde", "Milliarden"), _BILLION),
    **dict.fromkeys(("Bio.", "Bill.", "Billion", "Billionen"), Noun("Billion", "Billionen", "f")),
}
_HOUR: Final = Noun("Stunde", "Stunden", "f")
_MINUTE: Final = Noun("Minute", "Minuten", "f")
_SECOND: Final = Noun("Sekunde", "Sekunden", "f")
UNITS: Final = {
    **{
        sign: Noun(word, word)
        for sign, word in {
            "mm": "Millimeter", "cm": "Zentimeter", "dm": "Dezimeter", "m": "Meter", "km": "Kilometer",
            "µm": "Mikrometer", "nm": "Nanometer", "m²": "Quadratmeter", "qm": "Quadratmeter",
            "cm²": "Quadratzentimeter",
            "km²": "Quadratkilometer", "m³": "Kubikmeter", "cm³": "Kubikzentimeter", "ha": "Hektar", "l": "Liter",
            "L": "Liter", "dl": "Deziliter", "cl": "Zentiliter", "ml": "Milliliter", "g": "Gramm", "kg": "Kilogramm",
            "mg": "Milligramm", "µg": "Mikrogramm", "km/h": "Kilometer pro Stunde", "m/s": "Meter pro Sekunde",
            "l/100 km": "Liter auf hundert Kilometer", "°C": "Grad Celsius", "ºC": "Grad Celsius",
            "°F": "Grad Fahrenheit", "°": "Grad", "%": "Prozent", "‰": "Promille", "W": "Watt", "kW": "Kilowatt",
            "MW": "Megawatt", "kWh": "Kilowattstunden", "V": "Volt", "mA": "Milliampere", "Hz": "Hertz",
            "kHz": "Kilohertz", "MHz": "Megahertz", "GHz": "Gigahertz", "KB": "Kilobyte", "kB": "Kilobyte",
            "MB": "Megabyte", "GB": "Gigabyte", "TB": "Terabyte", "Mbit/s": "Megabit pro Sekunde",
            "Gbit/s": "Gigabit pro Sekunde", "kbit/s": "Kilobit pro Sekunde", "px": "Pixel", "dB": "Dezibel",
            "kcal": "Kilokalorien", "bar": "Bar", "hPa": "Hektopascal", "PS": "PS", "Stk.": "Stück", "Pkt.": "Punkte",
            "Nm": "Newtonmeter",
        }.items()
    },
    **dict.fromkeys(("h", "Std.", "Std"), _HOUR),
    **dict.fromkeys(("min", "Min.", "Min", "min."), _MINUTE),
    **dict.fromkeys(("s", "Sek.", "sec", "Sek"), _SECOND),
    "ms": Noun("Millisekunde", "Millisekunden", "f"),
    "t": Noun("Tonne", "Tonnen", "f"),
    **{f"%{end}": Noun(f"prozent{end}", f"prozent{end}") for end in ("ig", "ige", "iger", "igen", "iges", "igem")},
    "Tg.": Noun("Tag", "Tage"),
    "Wo.": Noun("Woche", "Wochen", "f"),
    "Mon.": Noun("Monat", "Monate"),
    "J.": Noun("Jahr", "Jahre"),
}  # fmt: skip
ABBREVIATIONS: Final = {
    "z. B.": "zum Beispiel", "d. h.": "das heißt", "u. a.": "unter anderem", "u. U.": "unter Umständen",
    "i. d. R.": "in der Regel", "z. T.": "zum Teil", "v. a.": "vor allem", "o. Ä.": "oder Ähnliches",
    "u. Ä.": "und Ähnliches", "s. o.": "siehe oben", "s. u.": "siehe unten", "z. Z.": "zur Zeit",
    "z. Zt.": "zur Zeit",
    "z. H.": "zu Händen", "z. Hd.": "zu Händen", "n. Chr.": "nach Christus", "v. Chr.": "vor Christus",
    "a. D.": "außer Dienst", "i. A.": "im Auftrag", "m. E.": "meines Erachtens", "o. g.": "oben genannte",
    "u. v. m.": "und vieles mehr", "usw.": "und so weiter", "etc.": "et cetera", "usf.": "und so fort",
    "bzw.": "beziehungsweise", "ca.": "circa", "vgl.": "vergleiche", "evtl.": "eventuell", "ggf.": "gegebenenfalls",
    "inkl.": "inklusive", "exkl.": "exklusive", "zzgl.": "zuzüglich", "abzgl.": "abzüglich", "max.": "maximal",
    "min.": "mindestens", "mind.": "mindestens", "sog.": "sogenannte", "bspw.": "beispielsweise",
    "insb.": "insbesondere",
    "geb.": "geboren", "gest.": "gestorben", "verh.": "verheiratet", "gem.": "gemäß", "lt.": "laut", "vs.": "versus",
    "allg.": "allgemein", "bes.": "besonders", "entspr.": "entsprechend", "u.": "und",
    "Dr. med.": "Doktor", "a. M.": "am Main", "Dr.": "Doktor", "Prof.": "Professor", "Hr.": "Herr", "Hrn.": "Herrn",
    "Frl.": "Fräulein",
    "Dipl.-Ing.": "Diplomingenieur", "Ing.": "Ingenieur", "St.": "Sankt",
    "Nr.": "Nummer", "Nrn.": "Nummern", "No.": "Nummer", "Tel.": "Telefon", "Str.": "Straße", "Pl.": "Platz",
    "Abs.": "Absatz", "Art.": "Artikel", "Kap.": "Kapitel", "Abb.": "Abbildung", "Bd.": "Band", "S.": "Seite",
    "Aufl.": "Auflage", "Hbf.": "Hauptbahnhof", "Bhf.": "Bahnhof", "Whg.": "Wohnung", "Zi.": "Zimmer",
    "Ltd.": "Limited",
    "Co.": "Co", "Mio.": "Millionen", "Mrd.": "Milliarden", "Std.": "Stunden", "Min.": "Minuten", "Sek.": "Sekunden",
    "MwSt.": "Mehrwertsteuer", "Mwst.": "Mehrwertsteuer", "USt.": "Umsatzsteuer", "Anm.": "Anmerkung",
    "Bsp.": "Beispiel",
    "Jh.": "Jahrhundert", "Mo.": "Montag", "Di.": "Dienstag", "Mi.": "Mittwoch", "Do.": "Donnerstag",
    "Sa.": "Samstag",
    "So.": "Sonntag", "Jan.": "Januar", "Feb.": "Februar", "Apr.": "April", "Aug.": "August", "Sept.": "September",
    "Sep.": "September", "Okt.": "Oktober", "Nov.": "November", "Dez.": "Dezember", "Betr.": "Betreff",
    "gegr.": "gegründet", "Kto.": "Konto", "Stk.": "Stück", "tägl.": "täglich", "mtl.": "monatlich", "Zt.": "Zeit",
}  # fmt: skip
NUMBERED_ONLY: Final = word_set(
    "max. min. Art. Abs. S. Pl. So. Bd. Kap. Abb. No. Std. Min. Sek. Stk. Aufl. Zi. Jan. Feb. Apr. Aug. Sep. Sept. "
    "Okt. Nov. Dez."
)
MORE_ABBREVIATIONS: Final = frozenset(("Fr.", "Str."))
"""Those that have a rule of their own."""
CLOSING: Final = frozenset(
    ("usw.", "etc.", "usf.", "u. v. m.", "o. Ä.", "u. Ä.", "MwSt.", "Std.", "Min.", "Sek.", "s. o.", "s. u.", "n. Chr.")
)
PHRASES: Final = {
    "GmbH": "G M B H", "gGmbH": "G G M B H", "PLZ": "Postleitzahl", "Tel": "Telefon", "Kfz": "K F Z",
    "Pkw": "P K W", "Lkw": "L K W",
    "MwSt": "Mehrwertsteuer", "ggü": "gegenüber", "mbH": "M B H", "Nr": "Nummer", "PCs": "P Cs", "WLAN": "W Lan",
    "e.V.": "E V", "StGB": "S T G B", "u.A.w.g.": "um Antwort wird gebeten",
}  # fmt: skip
SAID_AS_WORDS: Final = word_set(
    "NATO TÜV UNO UNESCO UNICEF NASA ESA PIN PUK TAN IBAN SIM BIC BAföG AIDS COVID LASER OPEC FIFA UEFA EDEKA "
    "REWE IKEA HARIBO ASAP DAX BIP AGB ELSTER SCHUFA RAM ROM GAU KITA AZUBI OK ICH DU ER SIE ES WIR IHR UND ODER "
    "DER DIE DAS EIN NICHT JA NEIN BITTE NUR AUF MIT FÜR"
) - frozenset(("AGB", "BIP", "OK"))  # fmt: skip
SPELLED: Final = word_set("ADAC AOK IHK ARD ZDF RTL OLED ECU AGB BIP HUK IBM LED DAK EDV IT AG EU USA")
FEMININE: Final = word_set(
    "Stunde Minute Sekunde Woche Nacht Person Frau Seite Tasse Flasche Dose Packung Million Milliarde Frage "
    "Antwort Nachricht Tür Stelle Reihe Karte Etage Straße Kugel Scheibe Portion Tonne Mark Krone Rupie Lira "
    "Möglichkeit Stimme Familie Firma Katze Zeile Spalte Aufgabe Idee Sache Rolle Datei Pizza Gabel Banane Birne "
    "Kirsche Tablette Kapsel Zahl Ziffer Nummer Rechnung Reise Fahrt Station Haltestelle Hand Stadt Insel Bank "
    "Schule"
)
FEMININE_NAMES: Final = word_set(
    "Elisabeth Elizabeth Katharina Margarethe Margarete Viktoria Victoria Maria Isabella Beatrix Anna Christina "
    "Kleopatra Johanna Eugenie Juliana Charlotte Sophie Therese"
)
ORDINAL_NOUNS: Final = {
    **dict.fromkeys(
        word_set(
            "Stock Platz Tag Monat Geburtstag Weltkrieg Advent Versuch Schritt Punkt Teil Band Akt Rang Grad Gang "
            "Bezirk Jahrestag Hochzeitstag Spieltag Sieg Satz Durchgang Anlauf"
        ),
        "er",
    ),
    **dict.fromkeys(
        word_set(
            "Etage Klasse Woche Liga Auflage Stunde Reihe Seite Runde Halbzeit Staffel Folge Ausgabe Stufe Mahnung "
            "Schicht Generation Welle Ebene Minute Stelle Zeile Straße Person"
        ),
        "e",
    ),
    **dict.fromkeys(
        word_set("Mal Quartal Jahrhundert Jahrtausend Kapitel Jahr Semester Obergeschoss Untergeschoss Halbjahr OG UG"),
        "es",
    ),
}
