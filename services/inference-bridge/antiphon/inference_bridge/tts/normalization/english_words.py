"""Words of American English for the rules: currencies, units, abbreviations, acronyms, emoji. Data only."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from antiphon.inference_bridge.tts.normalization.common_words import Words
from antiphon.inference_bridge.tts.normalization.english_numbers import MONTHS, WEEKDAYS, cardinal


def _listed(text: str) -> list[str]:
    return text.split()


@dataclass(frozen=True)
class Currency:
    """How amounts are said. `cent` and `cents` are empty where a hundredth has no name."""

    one: str
    many: str
    cent: str = ""
    cents: str = ""


_DOLLAR: Final = Currency("dollar", "dollars", "cent", "cents")
_EURO: Final = Currency("euro", "euros", "cent", "cents")
_POUND: Final = Currency("pound", "pounds", "penny", "pence")
_YEN: Final = Currency("yen", "yen")
_RUPEE: Final = Currency("rupee", "rupees", "paisa", "paise")
_FRANC: Final = Currency("Swiss franc", "Swiss francs", "centime", "centimes")
_YUAN: Final = Currency("yuan", "yuan")
_WON: Final = Currency("won", "won")
_RUBLE: Final = Currency("ruble", "rubles", "kopeck", "kopecks")
_ZLOTY: Final = Currency("zloty", "zlotys", "grosz", "groszy")
_REAL: Final = Currency("Brazilian real", "Brazilian reais", "centavo", "centavos")


def _dollars_of(country: str) -> Currency:
    return Currency(f"{country} dollar", f"{country} dollars", "cent", "cents")


CURRENCIES: Final = {
    "$": _DOLLAR, "€": _EURO, "£": _POUND, "¥": _YEN, "₹": _RUPEE, "₩": _WON, "₽": _RUBLE,
    "₺": Currency("lira", "lira"), "₪": Currency("shekel", "shekels"), "₴": Currency("hryvnia", "hryvnias"),
    "₫": Currency("dong", "dong"), "₱": Currency("peso", "pesos"), "₦": Currency("naira", "naira"),
    "₿": Currency("bitcoin", "bitcoin"), "฿": Currency("baht", "baht"), "₸": Currency("tenge", "tenge"),
    "₡": Currency("colon", "colones"), "₲": Currency("guarani", "guaranis"), "₵": Currency("cedi", "cedis"),
    "₾": Currency("lari", "lari"), "₼": Currency("manat", "manat"), "₭": Currency("kip", "kip"),
    "₮": Currency("tugrik", "tugriks"), "៛": Currency("riel", "riels"), "৳": Currency("taka", "taka"),
    "US$": _dollars_of("U S"), "A$": _dollars_of("Australian"), "AU$": _dollars_of("Australian"),
    "C$": _dollars_of("Canadian"), "CA$": _dollars_of("Canadian"), "CAD$": _dollars_of("Canadian"),
    "NZ$": _dollars_of("New Zealand"), "HK$": _dollars_of("Hong Kong"), "S$": _dollars_of("Singapore"),
    "NT$": _dollars_of("Taiwan"), "R$": _REAL, "MX$": Currency("Mexican peso", "Mexican pesos"), "CN¥": _YUAN,
    "RMB": _YUAN, "USD": _dollars_of("U S"), "EUR": _EURO, "GBP": _POUND, "JPY": _YEN, "INR": _RUPEE, "CHF": _FRANC,
    "CNY": _YUAN, "KRW": _WON, "RUB": _RUBLE, "AUD": _dollars_of("Australian"), "CAD": _dollars_of("Canadian"),
    "NZD": _dollars_of("New Zealand"), "HKD": _dollars_of("Hong Kong"), "SGD": _dollars_of("Singapore"),
    "TWD": _dollars_of("Taiwan"), "MXN": Currency("Mexican peso", "Mexican pesos"), "BRL": _REAL, "PLN": _ZLOTY,
    "zł": _ZLOTY, "SEK": Currency("Swedish krona", "Swedish kronor"),
    "NOK": Currency("Norwegian krone", "Norwegian kroner"), "DKK": Currency("Danish krone", "Danish kroner"),
    "CZK": Currency("Czech koruna", "Czech korunas"), "Kč": Currency("Czech koruna", "Czech korunas"),
    "HUF": Currency("forint", "forints"), "Ft": Currency("forint", "forints"), "RON": Currency("leu", "lei"),
    "TRY": Currency("Turkish lira", "Turkish lira"), "ILS": Currency("shekel", "shekels"),
    "ZAR": Currency("rand", "rand"), "AED": Currency("dirham", "dirhams"), "SAR": Currency("riyal", "riyals"),
    "THB": Currency("baht", "baht"), "VND": Currency("dong", "dong"), "PHP": Currency("peso", "pesos"),
    "IDR": Currency("rupiah", "rupiah"), "MYR": Currency("ringgit", "ringgit"), "NGN": Currency("naira", "naira"),
    "UAH": Currency("hryvnia", "hryvnias"), "EGP": Currency("Egyptian pound", "Egyptian pounds"),
    "PKR": Currency("Pakistani rupee", "Pakistani rupees"), "COP": Currency("Colombian peso", "Colombian pesos"),
    "ARS": Currency("Argentine peso", "Argentine pesos"), "CLP": Currency("Chilean peso", "Chilean pesos"),
    "BTC": Currency("bitcoin", "bitcoin"), "ETH": Currency("ether", "ether"), "Rs.": _RUPEE, "Rs": _RUPEE,
    "Fr.": _FRANC, "SFr.": _FRANC, "kr": Currency("krona", "kronor"), "kr.": Currency("krona", "kronor"),
}  # fmt: skip
"""Signs in front of or behind an amount, and codes of ISO 4217."""
SMALL_MONEY: Final = {"¢": ("cent", "cents"), "p": ("penny", "pence")}
SCALES: Final = {
    "k": "thousand", "K": "thousand", "M": "million", "m": "million", "mm": "million", "MM": "million", "mn": "million",
    "mil": "million", "mio": "million", "Mio": "million", "B": "billion", "b": "billion", "bn": "billion",
    "Bn": "billion", "BN": "billion", "T": "trillion", "tn": "trillion", "trn": "trillion", "hundred": "hundred",
    "thousand": "thousand", "million": "million", "billion": "billion", "trillion": "trillion", "lakh": "lakh",
    "lakhs": "lakh", "crore": "crore", "crores": "crore", "cr": "crore",
}  # fmt: skip

UNITS: Final = {
    "km/h": ("kilometer per hour", "kilometers per hour"), "kph": ("kilometer per hour", "kilometers per hour"),
    "kmh": ("kilometer per hour", "kilometers per hour"), "mph": ("mile per hour", "miles per hour"),
    "m/s²": ("meter per second squared", "meters per second squared"), "m/s": ("meter per second", "meters per second"),
    "mpg": ("mile per gallon", "miles per gallon"), "L/100km": ("liter per hundred kilometers",
    "liters per hundred kilometers"), "mg/dL": ("milligram per deciliter", "milligrams per deciliter"),
    "g/L": ("gram per liter", "grams per liter"), "g/km": ("gram per kilometer", "grams per kilometer"),
    "mg/kg": ("milligram per kilogram", "milligrams per kilogram"), "kg/m³": ("kilogram per cubic meter",
    "kilograms per cubic meter"), "W/m²": ("watt per square meter", "watts per square meter"),
    "km²": ("square kilometer", "square kilometers"), "m²": ("square meter", "square meters"),
    "cm²": ("square centimeter", "square centimeters"), "mm²": ("square millimeter", "square millimeters"),
    "ft²": ("square foot", "square feet"), "in²": ("square inch", "square inches"),
    "mi²": ("square mile", "square miles"), "m³": ("cubic meter", "cubic meters"),
    "cm³": ("cubic centimeter", "cubic centimeters"), "ft³": ("cubic foot", "cubic feet"),
    "sq ft": ("square foot", "square feet"), "sq. ft.": ("square foot", "square feet"),
    "sq m": ("square meter", "square meters"), "sqm": ("square meter", "square meters"),
    "sqft": ("square foot", "square feet"), "sq mi": ("square mile", "square miles"),
    "km": ("kilometer", "kilometers"), "cm": ("centimeter", "centimeters"), "mm": ("millimeter", "millimeters"),
    "µm": ("micrometer", "micrometers"), "nm": ("nanometer", "nanometers"), "m": ("meter", "meters"),
    "dm": ("decimeter", "decimeters"), "mi": ("mile", "miles"), "ft": ("foot", "feet"), "ft.": ("foot", "feet"),
    "yd": ("yard", "yards"), "yds": ("yard", "yards"), "in.": ("inch", "inches"), "kg": ("kilogram", "kilograms"),
    "kgs": ("kilogram", "kilograms"), "mg": ("milligram", "milligrams"), "µg": ("microgram", "micrograms"),
    "mcg": ("microgram", "micrograms"), "g": ("gram", "grams"), "lb": ("pound", "pounds"), "lb.": ("pound", "pounds"),
    "lbs": ("pound", "pounds"), "lbs.": ("pound", "pounds"), "oz": ("ounce", "ounces"), "oz.": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"), "mL": ("milliliter", "milliliters"), "cl": ("centiliter", "centiliters"),
    "dl": ("deciliter", "deciliters"), "dL": ("deciliter", "deciliters"), "L": ("liter", "liters"),
    "l": ("liter", "liters"), "gal": ("gallon", "gallons"), "gal.": ("gallon", "gallons"),
    "fl oz": ("fluid ounce", "fluid ounces"), "fl. oz.": ("fluid ounce", "fluid ounces"),
    "tsp": ("teaspoon", "teaspoons"), "tsp.": ("teaspoon", "teaspoons"), "tbsp": ("tablespoon", "tablespoons"),
    "tbsp.": ("tablespoon", "tablespoons"), "pt": ("point", "points"), "qt": ("quart", "quarts"),
    "ha": ("hectare", "hectares"), "kWh": ("kilowatt hour", "kilowatt hours"), "MWh": ("megawatt hour",
    "megawatt hours"), "Wh": ("watt hour", "watt hours"), "kW": ("kilowatt", "kilowatts"),
    "MW": ("megawatt", "megawatts"), "GW": ("gigawatt", "gigawatts"), "W": ("watt", "watts"), "mV": ("millivolt",
    "millivolts"), "kV": ("kilovolt", "kilovolts"), "V": ("volt", "volts"), "mA": ("milliampere", "milliamperes"),
    "mAh": ("milliampere hour", "milliampere hours"), "Ah": ("ampere hour", "ampere hours"), "kΩ": ("kiloohm",
    "kiloohms"), "Ω": ("ohm", "ohms"), "kJ": ("kilojoule", "kilojoules"), "kcal": ("kilocalorie", "kilocalories"),
    "cal": ("calorie", "calories"), "hp": ("horsepower", "horsepower"), "Nm": ("newton meter", "newton meters"),
    "kPa": ("kilopascal", "kilopascals"), "hPa": ("hectopascal", "hectopascals"), "MPa": ("megapascal", "megapascals"),
    "Pa": ("pascal", "pascals"), "psi": ("P S I", "P S I"), "bar": ("bar", "bar"), "mmHg": ("millimeter of mercury",
    "millimeters of mercury"), "dB": ("decibel", "decibels"), "dBm": ("D B M", "D B M"), "kHz": ("kilohertz",
    "kilohertz"), "MHz": ("megahertz", "megahertz"), "GHz": ("gigahertz", "gigahertz"), "THz": ("terahertz",
    "terahertz"), "Hz": ("hertz", "hertz"), "rpm": ("R P M", "R P M"), "RPM": ("R P M", "R P M"), "bpm":
    ("beat per minute", "beats per minute"), "BPM": ("beat per minute", "beats per minute"), "fps":
    ("frame per second", "frames per second"), "dpi": ("D P I", "D P I"), "px": ("pixel", "pixels"), "MP":
    ("megapixel", "megapixels"), "kbps": ("kilobit per second", "kilobits per second"), "Kbps":
    ("kilobit per second", "kilobits per second"), "Mbps": ("megabit per second", "megabits per second"), "Gbps":
    ("gigabit per second", "gigabits per second"), "kbit/s": ("kilobit per second", "kilobits per second"), "Mbit/s":
    ("megabit per second", "megabits per second"), "Gbit/s": ("gigabit per second", "gigabits per second"), "KB/s":
    ("kilobyte per second", "kilobytes per second"), "MB/s": ("megabyte per second", "megabytes per second"), "GB/s":
    ("gigabyte per second", "gigabytes per second"), "KB": ("kilobyte", "kilobytes"), "kB": ("kilobyte",
    "kilobytes"), "MB": ("megabyte", "megabytes"), "GB": ("gigabyte", "gigabytes"), "TB": ("terabyte", "terabytes"),
    "PB": ("petabyte", "petabytes"), "KiB": ("kibibyte", "kibibytes"), "MiB": ("mebibyte", "mebibytes"), "GiB":
    ("gibibyte", "gibibytes"), "TiB": ("tebibyte", "tebibytes"), "Gb": ("gigabit", "gigabits"), "Mb": ("megabit",
    "megabits"), "h": ("hour", "hours"), "hr": ("hour", "hours"), "hrs": ("hour", "hours"), "hr.": ("hour", "hours"),
    "hrs.": ("hour", "hours"), "min": ("minute", "minutes"), "mins": ("minute", "minutes"), "min.": ("minute",
    "minutes"), "sec": ("second", "seconds"), "secs": ("second", "seconds"), "sec.": ("second", "seconds"), "s":
    ("second", "seconds"), "ms": ("millisecond", "milliseconds"), "µs": ("microsecond", "microseconds"), "us":
    ("microsecond", "microseconds"), "ns": ("nanosecond", "nanoseconds"), "yr": ("year", "years"), "yrs": ("year",
    "years"), "mo": ("month", "months"), "mos": ("month", "months"), "wk": ("week", "weeks"), "wks": ("week",
    "weeks"), "°C": ("degree Celsius", "degrees Celsius"), "ºC": ("degree Celsius", "degrees Celsius"), "°F":
    ("degree Fahrenheit", "degrees Fahrenheit"), "ºF": ("degree Fahrenheit", "degrees Fahrenheit"), "°": ("degree",
    "degrees"), "º": ("degree", "degrees"), "%": ("percent", "percent"), "‰": ("per mille", "per mille"), "pct":
    ("percent", "percent"), "ppm": ("part per million", "parts per million"), "pp": ("percentage point",
    "percentage points"), "bps": ("basis point", "basis points"), "k/s": ("thousand per second", "thousand per second"),
}  # fmt: skip
"""Unit -> one, many. Those that are also words (`us`, `mo`, `in`) count only directly behind the digits."""
GLUED_UNITS: Final = frozenset(("us", "mo", "cal", "bar", "l", "ha", "mi", "bps", "pt", "k/s", "MP", "ns"))
PER: Final = {
    "mo": "month", "month": "month", "hr": "hour", "h": "hour", "hour": "hour", "yr": "year", "year": "year",
    "day": "day", "wk": "week", "week": "week", "night": "night", "min": "minute", "minute": "minute", "s": "second",
    "sec": "second", "kg": "kilogram", "lb": "pound", "oz": "ounce", "l": "liter", "L": "liter", "gal": "gallon",
    "km": "kilometer", "mile": "mile", "person": "person", "user": "user", "seat": "seat", "item": "item",
    "unit": "unit", "piece": "piece", "kWh": "kilowatt hour", "GB": "gigabyte", "m²": "square meter",
    "sqft": "square foot", "share": "share", "ticket": "ticket", "call": "call", "token": "token", "each": "each",
}  # fmt: skip
"""What stands behind the slash of a price or a rate."""

TITLES: Final = {
    "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "Dr.": "Doctor", "Prof.": "Professor", "Mr": "Mister",
    "Mrs": "Missus", "Ms": "Miz", "Dr": "Doctor", "Gov.": "Governor", "Sen.": "Senator", "Rep.": "Representative",
    "Gen.": "General", "Col.": "Colonel", "Capt.": "Captain", "Lt.": "Lieutenant", "Sgt.": "Sergeant",
    "Rev.": "Reverend", "Hon.": "Honorable", "Mt.": "Mount", "Ft.": "Fort", "Messrs.": "Messers",
}  # fmt: skip
"""In front of a name, so what follows never begins a sentence."""
ABBREVIATIONS: Final = {
    **TITLES, "Sr.": "Senior", "Jr.": "Junior", "vs.": "versus", "vs": "versus", "etc.": "et cetera",
    "e.g.": "for example", "i.e.": "that is", "eg.": "for example", "ie.": "that is", "approx.": "approximately",
    "appt.": "appointment", "dept.": "department", "Dept.": "Department", "Ave.": "Avenue", "Rd.": "Road",
    "Blvd.": "Boulevard", "Ln.": "Lane", "Ct.": "Court", "Pl.": "Place", "Sq.": "Square", "Hwy.": "Highway",
    "Hwy": "Highway", "Blvd": "Boulevard", "Pkwy": "Parkway", "Pkwy.": "Parkway", "Apt.": "Apartment",
    "apt.": "apartment", "Apt": "Apartment", "Ste.": "Suite", "Bldg.": "Building", "Fl.": "Floor",
    "Inc.": "Incorporated", "Ltd.": "Limited", "Ltd": "Limited", "Co.": "Company", "Corp.": "Corporation",
    "Bros.": "Brothers", "Assn.": "Association", "Assoc.": "Association", "Univ.": "University", "al.": "al",
    "cf.": "compare", "viz.": "namely", "ca.": "about", "aka": "also known as", "a.k.a.": "also known as",
    "incl.": "including", "excl.": "excluding", "max.": "maximum", "avg.": "average", "est.": "estimated",
    "temp.": "temperature", "misc.": "miscellaneous", "attn.": "attention", "Attn.": "Attention", "mgr.": "manager",
    "govt.": "government", "intl.": "international", "natl.": "national", "asst.": "assistant", "vol.": "volume",
    "Vol.": "Volume", "fig.": "figure", "Fig.": "Figure", "ch.": "chapter", "Ch.": "Chapter", "eq.": "equation",
    "Eq.": "Equation", "ed.": "edition", "tel.": "telephone", "Tel.": "Telephone", "ext.": "extension",
    "Ext.": "Extension", "ref.": "reference", "Ref.": "Reference", "acct.": "account", "Acct.": "Account",
    "hrs.": "hours", "hr.": "hour", "mins.": "minutes", "secs.": "seconds", "yrs.": "years", "min.": "minutes",
    "sec.": "seconds", "mos.": "months", "wks.": "weeks", "lbs.": "pounds", "oz.": "ounces", "tsp.": "teaspoon",
    "tbsp.": "tablespoon", "and/or": "and or", "km/h": "kilometers per hour", "mph": "miles per hour",
    "kWh": "kilowatt hours", "km": "kilometers", "kg": "kilograms", "cm": "centimeters", "mm": "millimeters",
    "C#": "C sharp", "F#": "F sharp", "w/": "with", "w/o": "without", "b/c": "because", "c/o": "care of",
    "n/a": "not applicable", "N/A": "not applicable", "a/c": "account", "P.S.": "P S", "p.s.": "P S",
    "Ph.D.": "P H D", "PhD": "P H D", "M.D.": "M D", "B.A.": "B A", "OK": "okay", "Ok": "okay", "ok": "okay",
    "O.K.": "okay", "WiFi": "Wi Fi", "Wi-Fi": "Wi Fi", "wifi": "Wi Fi", "iOS": "I O S", "macOS": "mac O S",
    "JSON": "Jason", "JPEG": "J peg", "JPG": "J peg", "YAML": "yammel", "OAuth": "O auth", "SaaS": "sass",
    "GIFs": "gifs", "PDFs": "P D F's", "mRNA": "M R N A", "eSIM": "E sim", "GPT": "G P T", "Jan.": "January",
    "Feb.": "February", "Mar.": "March", "Apr.": "April", "Jun.": "June", "Jul.": "July", "Aug.": "August",
    "Sep.": "September", "Sept.": "September", "Oct.": "October", "Nov.": "November", "Dec.": "December",
    "Mon.": "Monday", "Tue.": "Tuesday", "Tues.": "Tuesday", "Wed.": "Wednesday", "Thu.": "Thursday",
    "Thur.": "Thursday", "Thurs.": "Thursday", "Fri.": "Friday", "Sat.": "Saturday",
}  # fmt: skip
"""Written form -> words. A full stop belongs to the form."""
MONTH_OF: Final = {
    **{name: number for number, name in enumerate(MONTHS, 1)},
    **{name[:3]: number for number, name in enumerate(MONTHS, 1)},
    "Sept": 9,
}
WEEKDAY_OF: Final = {
    **{name[:3]: name for name in WEEKDAYS}, "Tues": "Tuesday", "Thur": "Thursday", "Thurs": "Thursday",
}  # fmt: skip
SAID_AS_WORDS: Final = frozenset(
    _listed(
        "NASA NATO NATS PIN SIM COVID AIDS UNESCO UNICEF LASER RADAR OPEC FIFA UEFA ASCII RAM ROM LAN WAN GIF "
        "SWAT SCUBA NASDAQ FEMA OSHA HIPAA NAFTA ASEAN ZIP CAPTCHA LIDAR DARPA GUI SAT NOT NOW AND THE YOU YOUR "
        "MUST NEVER ALWAYS ONLY FREE NEW STOP NO YES VERY ALL ANY ARE BUT CAN DO DOES EACH FOR FROM GO GOOD HAS "
        "HAVE HERE HOW IF IN INTO IS ITS JUST LAST LATE LESS LIKE MAY ME MORE MOST MUCH MY NEXT NONE NOTE OF OFF "
        "ON ONE OPEN OR OUR OUT OVER PER PLUS READ SAME SAY SEE SHE SHOW SO SOME STAY SURE TAKE TELL THAT THEM "
        "THEN THERE THEY THIS TO TODAY TOO TRY TWO UP USE WAIT WANT WAS WE WELL WENT WERE WHAT WHEN WHERE WHO "
        "WHY WILL WITH WORD WORK BE BEEN BEST BIG BOTH BY CALL COME DAY DID DONE DOWN END EVEN EVER EVERY FACT "
        "FIND FIRST GET GIVE GREAT HAD HE HER HIM HIS HUGE KEEP KNOW LET LONG LOOK MADE MAKE MAN MANY MIGHT NEED "
        "OLD ONCE ONTO OTHER OWN PAID PART PAY REAL RIGHT SAFE SALE SAVE TEN THAN THEIR THESE THINK THREE TIME "
        "TRUE UNTIL WARM WAY WEEK WHICH WIN WOW WRONG YEAR YET ZERO ADD AGO AN AS AT BACK BELOW ABOVE ABOUT "
        "AFTER AGAIN ALERT BEGIN CLICK CLOSE CODE DAILY DATA DATE DEAR DON ERROR EXTRA FAIL FALSE FINAL FIX FULL "
        "HELLO HELP HIGH HOLD HOME HOT ITEM KEY KIND LIVE LOVE LOW MAIL MAIN MOVE NAME NICE NOON OKAY ORDER PLAN "
        "PRESS PRICE PUSH QUICK QUIET RED REST RUN SEND SHOP SIGN SLOW SOON SORRY SPAM START TABLE TAX TEST TEXT "
        "THANK THING TOTAL TOP UNDER URGE URGENT VALID VISIT VOTE WARN WATCH WISH WORLD WRITE JAN FEB MAR APR "
        "JUN JUL AUG SEP OCT NOV DEC"
    )
)
"""Capitals that are read as a word; others of up to five letters are spelled."""
STATES: Final = dict(
    pair.split(":")
    for pair in _listed(
        "AL:Alabama AK:Alaska AZ:Arizona AR:Arkansas CA:California CO:Colorado CT:Connecticut DE:Delaware "
        "FL:Florida GA:Georgia HI:Hawaii ID:Idaho IL:Illinois IN:Indiana IA:Iowa KS:Kansas KY:Kentucky "
        "LA:Louisiana ME:Maine MD:Maryland MA:Massachusetts MI:Michigan MN:Minnesota MS:Mississippi MO:Missouri "
        "MT:Montana NE:Nebraska NV:Nevada NH:New_Hampshire NJ:New_Jersey NM:New_Mexico NY:New_York "
        "NC:North_Carolina ND:North_Dakota OH:Ohio OK:Oklahoma OR:Oregon PA:Pennsylvania RI:Rhode_Island "
        "SC:South_Carolina SD:South_Dakota TN:Tennessee TX:Texas UT:Utah VT:Vermont VA:Virginia WA:Washington "
        "WV:West_Virginia WI:Wisconsin WY:Wyoming DC:D_C"
    )
)
"""In front of a ZIP code."""
WORDS: Final = Words(
    digits=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    cardinal=cardinal,
    signs={
        "@": "at", ".": "dot", "-": "dash", "_": "underscore", "/": "slash", ":": "colon", "?": "question mark",
        "=": "equals", "&": "and", "#": "hash", "%": "percent", "+": "plus", "~": "tilde", "*": "star",
        "\\": "backslash", "$": "dollar", "!": "exclamation mark", ";": "semicolon", ",": "comma", "|": "pipe",
    },
    emoji_name=lambda emoji: unicodedata.name(emoji, "an emoji").lower().removesuffix(" sign").removesuffix(" face"),
    point="point",
    version="version",
    scripts={
        "cjk": "some text in Chinese", "hiragana": "some text in Japanese", "katakana": "some text in Japanese",
        "hangul": "some text in Korean", "arabic": "some text in Arabic", "hebrew": "some text in Hebrew",
        "devanagari": "some text in Hindi", "bengali": "some text in Bengali", "thai": "some text in Thai",
        "tamil": "some text in Tamil", "telugu": "some text in Telugu", "gujarati": "some text in Gujarati",
        "gurmukhi": "some text in Punjabi", "kannada": "some text in Kannada", "malayalam": "some text in Malayalam",
        "sinhala": "some text in Sinhala", "khmer": "some text in Khmer", "lao": "some text in Lao",
        "myanmar": "some text in Burmese", "georgian": "some text in Georgian", "armenian": "some text in Armenian",
        "ethiopic": "some text in Amharic", "tibetan": "some text in Tibetan", "cyrillic": "some text in Russian",
        "greek": "some text in Greek", "": "some text in another language",
    },
    emoji={
        "👍": "thumbs up", "👎": "thumbs down", "👌": "okay", "👏": "clapping", "🙏": "thank you",
        "🙌": "hooray", "👋": "waving", "✌": "victory", "🤞": "fingers crossed", "💪": "strong",
        "🤝": "handshake", "👀": "eyes", "😀": "smile", "😁": "grin", "😂": "laughing", "🤣": "laughing",
        "😃": "smile", "😄": "smile", "😅": "phew", "😆": "laughing", "😉": "wink", "😊": "smile",
        "😍": "love", "🥰": "love", "😘": "kiss", "😎": "cool", "🤔": "hmm", "😐": "hmm", "😏": "smirk",
        "😢": "sad", "😭": "crying", "😔": "sad", "😞": "sad", "😟": "worried", "😠": "angry", "😡": "angry",
        "😱": "shocked", "😮": "wow", "😲": "wow", "😴": "sleeping", "🤗": "hug", "🙂": "smile", "🙁": "sad",
        "☹": "sad", "🙃": "smile", "🙄": "eye roll", "😬": "grimace", "🤷": "shrug", "🤦": "facepalm",
        "☺": "smile", "❤": "heart", "🧡": "heart", "💛": "heart", "💚": "heart", "💙": "heart",
        "💜": "heart", "🖤": "heart", "🤍": "heart", "💔": "broken heart", "💕": "hearts", "💖": "heart",
        "🔥": "fire", "✨": "sparkles", "⭐": "star", "🌟": "star", "🎉": "party", "🎊": "party",
        "🎂": "birthday cake", "🎁": "gift", "🎈": "balloon", "✅": "check", "✔": "check", "☑": "check",
        "❌": "cross", "✖": "cross", "✗": "cross", "✘": "cross", "✓": "check", "⚠": "warning",
        "❗": "exclamation mark", "❓": "question mark", "💯": "one hundred percent", "🚀": "rocket",
        "💡": "idea", "📞": "telephone", "☎": "telephone", "📱": "phone", "📧": "e-mail", "✉": "e-mail",
        "📅": "calendar", "🕒": "clock", "⏰": "alarm clock", "☀": "sun", "🌞": "sun", "🌧": "rain",
        "☔": "rain", "❄": "snow", "⛄": "snow", "🌈": "rainbow", "🍕": "pizza", "☕": "coffee", "🍺": "beer",
        "🍷": "wine", "🐶": "dog", "🐱": "cat", "🏠": "home", "🚗": "car", "✈": "airplane", "💰": "money",
        "💵": "money", "🔒": "lock", "🔑": "key", "🎵": "music", "🎶": "music", "flag": "a flag", "😋": "yum",
        "🤩": "wow", "🥳": "party", "😇": "angel", "🤖": "robot", "👻": "ghost", "💀": "skull", "🙈": "oops",
        "🌹": "rose", "🌸": "flower", "💐": "flowers", "🌍": "world", "⚡": "lightning", "": "an emoji",
    },
    digit_context=frozenset(
        _listed(
        "code codes pin zip order call dial phone telephone tel mobile cell fax number account acct reference "
        "ref extension ext id passcode password otp token ticket case invoice confirmation booking reservation "
        "tracking serial card policy member membership customer flight room suite apartment apt gate license "
        "licence plate passport vin ssn isbn sku iban routing sort postcode postal combination vat error bus "
        "route channel port text sms digits claim loan patient record locker bic ein tin upc model badge "
        "terminal pnr shipment parcel verification security no nr"
    )
    ),
    address_words={
        "www": "W W W", "co": "co", "http": "H T T P", "https": "H T T P S", "ftp": "F T P",
        "io": "I O", "api": "A P I", "faq": "F A Q", "url": "U R L", "id": "I D", "ui": "U I",
        "html": "H T M L", "gmail": "G mail", "hotmail": "hot mail", "usr": "user", "etc": "E T C",
        "src": "source", "py": "P Y", "us": "us", "ai": "A I", "icloud": "I cloud", "exe": "E X E",
        "edu": "E D U", "en": "E N", "pdf": "P D F", "json": "Jason", "jpeg": "J peg", "jpg": "J peg",
        "csv": "C S V", "yaml": "yammel", "utm": "U T M", "git": "git", "dev": "dev", "to": "to",
        "me": "me", "no": "no", "my": "my", "is": "is", "in": "in", "it": "I T", "uk": "U K",
        "de": "D E", "eu": "E U", "js": "J S", "php": "P H P", "mr": "M R", "ms": "M S", "ip": "I P",
        "by": "by",
    },
)  # fmt: skip
