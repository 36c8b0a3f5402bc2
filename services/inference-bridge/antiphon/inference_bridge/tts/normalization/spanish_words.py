"""The words that written Spanish shortens: units, currencies, months, abbreviations, acronyms, signs, emoji. Data."""

from __future__ import annotations

from typing import Final

from antiphon.inference_bridge.tts.normalization.continental import Noun, word_set

MONTHS: Final = (
    *("enero", "febrero", "marzo", "abril", "mayo", "junio"),
    *("julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
)
MONTH_NAMES: Final = {
    **{name: number for number, name in enumerate(MONTHS, 1)},
    **{name[:3]: number for number, name in enumerate(MONTHS, 1)},
    **{f"{name[:3]}.": number for number, name in enumerate(MONTHS, 1)},
    "sept": 9,
    "sept.": 9,
}
WEEKDAYS: Final = {
    "lun": "lunes",
    "mar": "martes",
    "mié": "miércoles",
    "mie": "miércoles",
    "jue": "jueves",
    "vie": "viernes",
    "sáb": "sábado",
    "sab": "sábado",
    "dom": "domingo",
    "Lun": "lunes",
    "Mar": "martes",
    "Mié": "miércoles",
    "Jue": "jueves",
    "Vie": "viernes",
    "Sáb": "sábado",
    "Dom": "domingo",
    "L": "lunes",
    "V": "viernes",
}
SIGNS: Final = {
    "@": "arroba", ".": "punto", "-": "guion", "_": "guion bajo", "/": "barra", ":": "dos puntos",
    "?": "signo de interrogación", "=": "igual a", "&": "y", "#": "almohadilla", "%": "por ciento", "+": "más",
    "~": "tilde", "*": "asterisco", "\\": "barra invertida",
}  # fmt: skip
MATH: Final = {
    "≈": "aproximadamente",
    "≥": "mayor o igual que",
    "≤": "menor o igual que",
    "≠": "distinto de",
    "√": "raíz de",
    "∞": "infinito",
    "→": "a",
    "×": "por",
    "÷": "entre",
    "±": "más menos",
    "<=": "menor que",
    ">=": "mayor que",
    "∑": "suma",
    "∆": "delta",
}
SCRIPTS: Final = {
    "cjk": "un texto en chino", "hiragana": "un texto en japonés", "katakana": "un texto en japonés",
    "hangul": "un texto en coreano", "arabic": "un texto en árabe", "hebrew": "un texto en hebreo",
    "thai": "un texto en tailandés", "devanagari": "un texto en hindi", "bengali": "un texto en bengalí",
    "tamil": "un texto en tamil", "cyrillic": "un texto en ruso", "greek": "un texto en griego",
    "armenian": "un texto en armenio", "georgian": "un texto en georgiano", "": "un texto en otra escritura",
}  # fmt: skip
EMOJI: Final = {
    "👍": "pulgar arriba", "👎": "pulgar abajo", "❤": "corazón", "😀": "cara sonriente", "😊": "cara sonriente",
    "🙂": "cara sonriente", "😂": "risa", "😢": "cara triste", "😉": "guiño", "🎉": "confeti",
    "🙏": "manos juntas", "✅": "visto bueno", "✔": "visto bueno", "❌": "cruz", "⚠": "atención", "🔥": "fuego",
    "👋": "saludo", "👏": "aplausos", "💪": "brazo fuerte", "🤔": "cara pensativa", "⭐": "estrella", "☀": "sol",
    "🚀": "cohete", "📞": "teléfono", "👌": "todo bien", "flag": "bandera", "": "emoji",
}  # fmt: skip
_CENT: Final = Noun("céntimo", "céntimos")
_CENTAVO: Final = Noun("centavo", "centavos")
_DOLLAR: Final = Noun("dólar", "dólares")
CURRENCIES: Final = {
    **dict.fromkeys(("€", "EUR", "euros", "euro"), (Noun("euro", "euros"), _CENT)),
    **dict.fromkeys(("$", "USD", "dólares", "dólar"), (_DOLLAR, _CENTAVO)),
    **dict.fromkeys(("US$", "U$S"), (Noun("dólar estadounidense", "dólares estadounidenses"), _CENTAVO)),
    **dict.fromkeys(("CA$", "C$", "CAD"), (Noun("dólar canadiense", "dólares canadienses"), _CENTAVO)),
    **dict.fromkeys(("A$", "AU$", "AUD"), (Noun("dólar australiano", "dólares australianos"), _CENTAVO)),
    **dict.fromkeys(("£", "GBP"), (Noun("libra", "libras", "f"), Noun("penique", "peniques"))),
    **dict.fromkeys(("CHF",), (Noun("franco", "francos"), _CENT)),
    **dict.fromkeys(("¥", "JPY"), (Noun("yen", "yenes"), None)),
    **dict.fromkeys(("CNY", "RMB"), (Noun("yuan", "yuanes"), None)),
    **dict.fromkeys(("₹", "INR"), (Noun("rupia", "rupias", "f"), None)),
    **dict.fromkeys(("MX$", "MXN"), (Noun("peso mexicano", "pesos mexicanos"), _CENTAVO)),
    **dict.fromkeys(("ARS", "AR$"), (Noun("peso argentino", "pesos argentinos"), _CENTAVO)),
    **dict.fromkeys(("CLP",), (Noun("peso chileno", "pesos chilenos"), None)),
    **dict.fromkeys(("COP",), (Noun("peso colombiano", "pesos colombianos"), _CENTAVO)),
    **dict.fromkeys(("PEN", "S/"), (Noun("sol", "soles"), _CENT)),
    **dict.fromkeys(("R$", "BRL"), (Noun("real", "reales"), _CENTAVO)),
    **dict.fromkeys(("₽", "RUB"), (Noun("rublo", "rublos"), Noun("kopek", "kopeks"))),
    **dict.fromkeys(("zł", "PLN"), (Noun("esloti", "eslotis"), None)),
    **dict.fromkeys(("Kč", "CZK"), (Noun("corona checa", "coronas checas", "f"), None)),
    **dict.fromkeys(("SEK",), (Noun("corona sueca", "coronas suecas", "f"), None)),
    **dict.fromkeys(("DKK",), (Noun("corona danesa", "coronas danesas", "f"), None)),
    **dict.fromkeys(("NOK",), (Noun("corona noruega", "coronas noruegas", "f"), None)),
    **dict.fromkeys(("kr",), (Noun("corona", "coronas", "f"), None)),
    **dict.fromkeys(("₺", "TRY"), (Noun("lira turca", "liras turcas", "f"), None)),
    **dict.fromkeys(("₩", "KRW"), (Noun("won", "wones"), None)),
    **dict.fromkeys(("₪", "ILS"), (Noun("séquel", "séqueles"), None)),
    **dict.fromkeys(("₴", "UAH"), (Noun("grivna", "grivnas", "f"), None)),
    **dict.fromkeys(("₡", "CRC"), (Noun("colón", "colones"), None)),
    **dict.fromkeys(("₱",), (Noun("peso", "pesos"), _CENTAVO)),
    **dict.fromkeys(("₿", "BTC"), (Noun("bitcoin", "bitcoins"), None)),
    **dict.fromkeys(("¢",), (_CENTAVO, None)),
}
_MILLION: Final = Noun("millón", "millones")
MAGNITUDES: Final = {
    **dict.fromkeys(("M", "MM", "mill.", "millón", "millones"), _MILLION),
    **dict.fromkeys(("mil millones", "B", "mM"), Noun("mil millones", "mil millones")),
    **dict.fromkeys(("billón", "billones"), Noun("billón", "billones")),
}
UNITS: Final = {
    **{
        sign: Noun(one, one + plural)
        for sign, (one, plural) in {
            "mm": ("milímetro", "s"), "cm": ("centímetro", "s"), "m": ("metro", "s"), "km": ("kilómetro", "s"),
            "ha": ("hectárea", "s"), "l": ("litro", "s"), "L": ("litro", "s"), "ml": ("mililitro", "s"),
            "cl": ("centilitro", "s"), "dl": ("decilitro", "s"), "g": ("gramo", "s"), "gr": ("gramo", "s"),
            "kg": ("kilogramo", "s"), "Kg": ("kilogramo", "s"), "mg": ("miligramo", "s"), "W": ("vatio", "s"),
            "kW": ("kilovatio", "s"), "V": ("voltio", "s"), "Hz": ("hercio", "s"), "kHz": ("kilohercio", "s"),
            "MHz": ("megahercio", "s"), "GHz": ("gigahercio", "s"), "KB": ("kilobyte", "s"), "kB": ("kilobyte", "s"),
            "MB": ("megabyte", "s"), "GB": ("gigabyte", "s"), "TB": ("terabyte", "s"), "dB": ("decibelio", "s"),
            "s": ("segundo", "s"), "seg": ("segundo", "s"), "seg.": ("segundo", "s"), "min": ("minuto", "s"),
            "min.": ("minuto", "s"), "ms": ("milisegundo", "s"), "px": ("píxel", "es"),
        }.items()
    },
    **dict.fromkeys(("h", "hs", "hrs", "h."), Noun("hora", "horas", "f")),
    **dict.fromkeys(("lb", "lbs"), Noun("libra", "libras", "f")),
    **dict.fromkeys(("oz",), Noun("onza", "onzas", "f")),
    **dict.fromkeys(("t",), Noun("tonelada", "toneladas", "f")),
    **dict.fromkeys(("pág.", "págs."), Noun("página", "páginas", "f")),
    "ha": Noun("hectárea", "hectáreas", "f"),
    **dict.fromkeys(("m²", "m2"), Noun("metro cuadrado", "metros cuadrados")),
    **dict.fromkeys(("km²", "km2"), Noun("kilómetro cuadrado", "kilómetros cuadrados")),
    **dict.fromkeys(("cm²",), Noun("centímetro cuadrado", "centímetros cuadrados")),
    **dict.fromkeys(("m³", "m3"), Noun("metro cúbico", "metros cúbicos")),
    "km/h": Noun("kilómetro por hora", "kilómetros por hora"),
    "m/s": Noun("metro por segundo", "metros por segundo"),
    "kWh": Noun("kilovatio hora", "kilovatios hora"),
    "kcal": Noun("kilocaloría", "kilocalorías", "f"),
    "Mbit/s": Noun("megabit por segundo", "megabits por segundo"),
    "Mbps": Noun("megabit por segundo", "megabits por segundo"),
    **dict.fromkeys(("°C", "ºC", "° C", "º C"), Noun("grado Celsius", "grados Celsius")),
    **dict.fromkeys(("°F", "ºF"), Noun("grado Fahrenheit", "grados Fahrenheit")),
    "°": Noun("grado", "grados"),
    "%": Noun("por ciento", "por ciento", ""),
    "‰": Noun("por mil", "por mil"),
}  # fmt: skip
ABBREVIATIONS: Final = {
    "p. ej.": "por ejemplo", "p. e.": "por ejemplo", "Sr.": "señor", "Sra.": "señora", "Srta.": "señorita",
    "Sres.": "señores", "Sras.": "señoras", "Dr.": "doctor", "Dra.": "doctora", "Dres.": "doctores", "D.": "don",
    "D.ª": "doña", "c/u": "cada uno", "Cel.": "celular", "Excmo.": "excelentísimo",
    "Dña.": "doña", "Prof.": "profesor", "Profa.": "profesora", "Ing.": "ingeniero", "Lic.": "licenciado",
    "Ud.": "usted", "Uds.": "ustedes", "Vd.": "usted", "Vds.": "ustedes", "etc.": "etcétera",
    "aprox.": "aproximadamente",
    "Avda.": "avenida", "Av.": "avenida", "Pza.": "plaza", "Pl.": "plaza", "Ctra.": "carretera", "Pº": "paseo",
    "izq.": "izquierda", "izda.": "izquierda", "dcha.": "derecha", "núm.": "número", "núms.": "números",
    "pág.": "página", "págs.": "páginas", "cap.": "capítulo", "art.": "artículo", "vol.": "volumen",
    "tel.": "teléfono",
    "tfno.": "teléfono", "tlf.": "teléfono", "C.P.": "código postal", "EE. UU.": "Estados Unidos",
    "a. C.": "antes de Cristo",
    "d. C.": "después de Cristo", "máx.": "máximo", "mín.": "mínimo", "incl.": "incluido", "admón.": "administración",
    "dpto.": "departamento", "depto.": "departamento", "Cía.": "compañía", "S. A.": "S A", "S. L.": "S L",
    "atte.": "atentamente", "vs.": "versus", "ej.": "ejemplo", "No.": "número", "Sto.": "santo", "Sta.": "santa",
    "S.": "san", "lun.": "lunes", "mié.": "miércoles", "jue.": "jueves", "vie.": "viernes", "sáb.": "sábado",
    "dom.": "domingo", "mar.": "martes", "ene.": "enero", "feb.": "febrero", "abr.": "abril", "jun.": "junio",
    "jul.": "julio",
    "ago.": "agosto", "sept.": "septiembre", "oct.": "octubre", "nov.": "noviembre", "dic.": "diciembre",
    "n.º": "número", "1.er": "primer", "ref.": "referencia", "min.": "minutos", "seg.": "segundos",
}  # fmt: skip
NUMBERED_ONLY: Final = word_set(
    "mar. art. cap. vol. No. Pl. min. seg. dom. ene. feb. abr. jun. jul. ago. sept. oct. nov. dic."
)
MORE_ABBREVIATIONS: Final = frozenset(("n.", "p.", "a.", "C."))
"""Those that have a rule of their own."""
CLOSING: Final = frozenset(
    ("etc.", "Ud.", "Uds.", "Vd.", "Vds.", "EE. UU.", "a. C.", "d. C.", "S. A.", "S. L.", "min.")
)
PHRASES: Final = {
    "UE": "Unión Europea",
    "CP": "código postal",
    "Tel": "teléfono",
    "Cel": "celular",
    "EEUU": "Estados Unidos",
    "JJ. OO.": "Juegos Olímpicos",
}
SAID_AS_WORDS: Final = word_set(
    "ONU OTAN UNESCO UNICEF NASA RENFE ADIF AENA IVA PIN PUK IBAN SIM SIDA COVID LASER OPEP FIFA UEFA ERTE ERE "
    "IKEA SEAT NIE NIF CIF OMS RAE UVI UCI AVE PYME PYMES TIC IRPF ISBN RAM ROM EL LA LOS LAS DE DEL EN Y SI SÍ "
    "NO UN UNA ES SU QUE POR CON PARA AL SE LE LO ME MI TU"
) - frozenset(("OMS", "IRPF", "ISBN", "NIF"))  # fmt: skip
SPELLED: Final = word_set("BBVA IRPF ISBN CEOE UGT CCOO DNI")
FEMININE: Final = word_set(
    "vez veces noche noches tarde tardes clase clases calle calles parte partes gente llave llaves sangre leche "
    "carne mesa serie series imagen imágenes luz luces flor flores mujer mujeres mano manos foto fotos moto motos "
    "opción habitación"
)
MASCULINE_IN_A: Final = word_set(
    "día días problema problemas programa programas tema temas idioma idiomas sistema sistemas mapa mapas clima "
    "planeta planetas gramas kilogramas cura poeta poetas atleta atletas artista artistas turista turistas "
    "diagrama diagramas poema poemas esquema esquemas dilema dilemas síntoma síntomas dálmatas cinema drama dramas "
    "fantasma fantasmas"
)
NOT_NOUNS: Final = word_set(
    "de del a al y e o u en con por para que es son está están era fue hay sin sobre entre hasta desde como si no "
    "ni pero más menos porque cuando donde se le lo la los las el un una su sus mi mis tu tus ya muy también hoy "
    "ayer mañana después antes ahora aquí allí enero febrero marzo abril mayo junio julio agosto septiembre "
    "octubre noviembre diciembre coma punto millón millones mil"
)
FEMININE_NAMES: Final = word_set("Isabel Juana Catalina María Leonor Victoria Margarita Cristina Ana Urraca")
REGNAL_NAMES: Final = FEMININE_NAMES | word_set(
    "Carlos Felipe Fernando Alfonso Jaime Pedro Juan Luis Enrique Francisco Napoleón Guillermo Pablo Sancho "
    "Ramiro Amadeo Ricardo Eduardo Jorge Jacobo Nicolás Alejandro Federico José Pío León Benedicto"
)
