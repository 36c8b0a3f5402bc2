"""Markdown, HTML and thoughts taken out of a text: what stays is what a reader would see. Pure, no language.

Works on clauses as well as on whole answers: a mark without its partner (the clause ends in between) is taken away too.
"""

from __future__ import annotations

import html
import re
from typing import Final

_THOUGHTS: Final = re.compile(r"<(think|thinking|thought|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_THOUGHTS_END: Final = re.compile(r"\A.*</(?:think|thinking|thought|reasoning)>", re.DOTALL | re.IGNORECASE)
_CONTROL: Final = re.compile(r"<\|[^|<>\n]{1,40}\|>")
_FENCE: Final = re.compile(r"^[ \t]*(?:```|~~~)[ \t]*[\w+#.-]{0,20}[ \t]*$", re.MULTILINE)
_RULER: Final = re.compile(r"^[ \t]*(?:[-*_=][ \t]*){3,}$", re.MULTILINE)
_TABLE_RULER: Final = re.compile(r"^[ \t]*\|?(?:[ \t]*:?-{2,}:?[ \t]*\|)+[ \t]*(?::?-{2,}:?)?[ \t]*$", re.MULTILINE)
_TABLE_ROW: Final = re.compile(r"^[ \t]*\|(.*?)\|?[ \t]*$|^([^|\n]*[^|\s][ \t]+\|[ \t].*)$", re.MULTILINE)
_LINE_START: Final = re.compile(
    r"^[ \t]*(?:>(?![\d=$€£¥])[ \t]?)*(?:#{1,6}[ \t]+|[-*+\u2022\u25e6\u2023\u25aa\u2043][ \t]+(?:\[[ xX]\][ \t]+)?)?",
    re.MULTILINE,
)
_HEADING_END: Final = re.compile(r"[ \t]+#+[ \t]*$", re.MULTILINE)
_IMAGE_OR_LINK: Final = re.compile(
    r"!?\[([^\[\]\n]{0,300})\]"
    r"(?:\([^()\s]{0,500}(?:\([^()\s]{0,100}\))?[^()\n]{0,300}\)|\[[^\[\]\n]{0,100}\])"
)
_FOOTNOTE: Final = re.compile(r"(?<=[^\s(\[])\[\^?\d{1,3}\](?!\()|\[\^\d{1,3}\]:?")
_AUTOLINK: Final = re.compile(r"<((?:https?://|mailto:)?[^\s<>@]{1,200}[@.][^\s<>]{1,200})>")
_BREAK: Final = re.compile(r"<(?:br|/p|/li|/div|/tr|/h[1-6])[ \t]*/?>", re.IGNORECASE)
_CELL_END: Final = re.compile(r"</t[dh]>", re.IGNORECASE)
_TAG: Final = re.compile(r"</?[A-Za-z][\w:-]{0,30}(?:[ \t][^<>\n]{0,300})?/?>|<!--[^>]{0,300}-->")
_ENTITY: Final = re.compile(r"&(?:[A-Za-z]{2,12}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_CODE: Final = re.compile(r"`+")
_STRONG: Final = re.compile(r"\*{2,}|~~|(?<!\w)_{2,}(?=\w)|(?<=[\w.!?,])_{2,}(?!\w)")
_STAR: Final = re.compile(r"(?<![\d\s)*])\*|\*(?![\s\d(*])|(?<![\d)])(?<!\s)\*(?=\s)|(?:^|(?<=\n))\*")
_UNDERSCORE: Final = re.compile(r"(?<![\w@/.-])_(?=[^\W_])|(?<=[^\W_])_(?![\w@])|(?<=[.!?,])_(?!\w)")
_ESCAPED: Final = re.compile(r"\\(?:([\[\]()!+.{}$-])|[*_`#~>|])")
_WRAPPED: Final = re.compile(r"(?<=[^\s.!?:;])[ \t]*\n[ \t]*(?=[a-z])")
_MARKED: Final = re.compile(r"[*_`#\[<>&|~=\\\n+\-\u2022\u25e6\u2023\u25aa\u2043]")


def plain(text: str) -> str:
    """`**Hi** [there](https://x.org)` -> `Hi there`. Lines stay lines; the cells of a table get commas between."""
    if not _MARKED.search(text):
        return text
    if "<" in text:
        text = _CONTROL.sub(" ", _THOUGHTS_END.sub("", _THOUGHTS.sub("", text)))
        text = _AUTOLINK.sub(r"\1", text)
        text = _TAG.sub("", _BREAK.sub("\n", _CELL_END.sub(", ", text)))
    text = _ESCAPED.sub(r"\1", _FENCE.sub("", text))
    text = _RULER.sub("", text)
    if "|" in text:
        text = _TABLE_ROW.sub(lambda m: _row(m[1] or m[2] or ""), _TABLE_RULER.sub("", text))
    text = _HEADING_END.sub("", _LINE_START.sub("", text))
    if "[" in text:
        text = _FOOTNOTE.sub("", _IMAGE_OR_LINK.sub(r"\1", text))
    text = _CODE.sub("", text)
    if "*" in text or "~" in text or "_" in text:
        text = _UNDERSCORE.sub("", _STAR.sub("", _STRONG.sub("", text)))
    if "&" in text:
        text = _ENTITY.sub(lambda m: html.unescape(m[0]), text)
    return _WRAPPED.sub(" ", text)


def _row(cells: str) -> str:
    return ", ".join(cell.strip() for cell in cells.split("|") if cell.strip())
