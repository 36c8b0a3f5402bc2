"""Rules of every language for what is typed as it stands: e-mail and web addresses, IP and MAC addresses, paths, tags.

Each dot, dash, underscore and slash is said, digits one by one: a listener must be able to write the address down.
"""

from __future__ import annotations

from re import Match
from typing import Final

from antiphon.inference_bridge.tts.normalization.common import Rule
from antiphon.inference_bridge.tts.normalization.common_words import Words, say_address, spell

_TOP: Final = (
    "com|org|net|edu|gov|mil|int|info|biz|io|dev|app|ai|co|uk|us|de|fr|es|it|eu|ch|at|nl|be|pl|se|no|dk|fi|ie|pt|cz|gr"
    "|jp|cn|kr|in|br|ar|mx|cl|au|nz|ca|za|ru|ua|tr|il|tv|me|ly|gg|sh|fm|cc|xyz|tech|online|store|shop|site|cloud|blog"
    "|news|agency|academy|page|link|live|world|email|example|test|local|localhost|internal|invalid"
)
_FILE_ENDINGS: Final = (
    "py|pyi|ipynb|js|jsx|ts|tsx|json|jsonl|txt|md|rst|pdf|docx?|xlsx?|pptx?|odt|csv|tsv|png|jpe?g|gif|svg|webp|mp3|mp4"
    "|wav|ogg|flac|mov|mkv|zip|tar|gz|tgz|bz2|xz|7z|exe|dmg|msi|deb|rpm|apk|iso|html?|css|scss|ya?ml|toml|ini|cfg|conf"
    "|log|sh|bat|ps1|xml|sql|db|env|rs|go|java|kt|cpp|hpp|rb|php|swift|lock|bak|tmp|dll|so|wasm|onnx|pem|key|crt"
)
_TAIL: Final = r"[^\s<>\"]{0,500}[^\s<>\".,!?;:)\]'*]"
_LABEL: Final = r"[^\W_](?:[\w-]{0,61}[^\W_])?"


def address_rules(words: Words) -> list[Rule]:
    """To be put in front of a language's own rules."""

    def web(match: Match[str]) -> str:
        text = match[0]
        scheme, found, rest = text.partition("://")
        text = rest if found and scheme.lower() in ("http", "https") else text
        host, slash, path = text.partition("/")
        return say_address(host if not path else f"{host}{slash}{path}", words)

    def mail(match: Match[str]) -> str:
        return say_address(match[0].removeprefix("mailto:"), words)

    def ip(match: Match[str]) -> str | None:
        host, _, _ = match[0].partition("/")
        if any(int(part) > 255 for part in host.split(":")[0].split(".")):
            return None
        return say_address(match[0], words)

    def ip6(match: Match[str]) -> str | None:
        text = match[0]
        if "::" not in text and text.count(":") != 7:
            return None
        return spell(text, words) if any(c.isalnum() for c in text) else None

    def tag(match: Match[str]) -> str:
        return f"{words.signs.get('#', '')} {say_address(match[0][1:], words)}"

    def colour(match: Match[str]) -> str | None:
        text = match[0][1:]
        if text.isdigit() or (text.isalpha() and text.lower() != text[0].lower() * len(text)):
            return None
        return f"{words.signs.get('#', '')} {spell(text, words)}"

    def name(match: Match[str]) -> str:
        return say_address(match[0], words)

    return [
        Rule("mail", rf"(?<![\w.+%-])(?:mailto:)?[\w.+%-]{{1,64}}@(?:{_LABEL}\.){{1,6}}[^\W\d_]{{2,24}}(?!\w)", mail),
        Rule("mail", rf"(?<![\w.+%-])[\w.+%-]{{1,64}}@(?:localhost|{_LABEL})(?![\w.])", mail),
        Rule("web", rf"(?<!\w)(?:[A-Za-z][A-Za-z0-9+]{{1,10}}://|www\.){_TAIL}", web, "a"),
        Rule(
            "web",
            rf"(?<![\w.@-])(?:(?:{_LABEL}\.){{1,6}}(?:{_TOP})|localhost(?=[:/]))(?![\w-])(?!\.\w)"
            rf"(?::\d{{1,5}})?(?:[/?#]{_TAIL}|/)?",
            web,
            "1a",
        ),
        Rule("ip", r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2}|:\d{1,5})?(?![\w]|\.\d)", ip, "1"),
        Rule("mac", r"(?<![\w:])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![\w:-])", lambda m: spell(m[0], words), "1a"),
        Rule("ip6", r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:)(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])", ip6),
        Rule(
            "uuid",
            r"(?<![\w-])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![\w-])",
            lambda m: spell(m[0].replace("-", " "), words),
            "1a",
        ),
        Rule("path", r"(?<!\w)[A-Za-z]:\\[^\s<>\"]{0,200}[^\s<>\".,!?;:)\]']", name, "a"),
        Rule("path", r"(?<![\w/.:])(?:~|\.{1,2})?(?:/[\w.@+-]{0,100}[\w@+-]){1,20}/?(?!\w)", name, "."),
        Rule(
            "file",
            rf"(?<![\w.@/-])(?:[\w-]{{1,64}}[./]){{1,8}}(?:{_FILE_ENDINGS})(?![\w-])(?!\.\w)",
            name,
        ),
        Rule("colour", r"(?<!\w)#(?:[0-9A-Fa-f]{6}|[0-9A-Fa-f]{3})(?!\w)", colour, "."),
        Rule("tag", r"(?<![\w&])#[^\W\d_]\w{0,80}", tag, "."),
        Rule("handle", r"(?<![\w.])@[^\W\d]\w{1,60}(?:\.\w{1,60}){0,3}", name, "."),
        Rule("identifier", r"(?<!\w)_{0,2}[^\W_]{1,40}(?:_{1,3}[^\W_]{1,40}){1,20}_{0,2}(?!\w)", name),
    ]
