"""Kana with a combining sound mark.

macOS takes voiced kana in file names apart, and text that is copied from there arrives as a letter and a mark: が as か
and U+3099. No Japanese character set before JIS X 0213 has the marks, so that neither a certificate nor a bank's file
can hold them.
"""

from __future__ import annotations

import re
import unicodedata

_KANA = map(chr, range(0x3041, 0x3100))
_COMPOSED = {parts: kana for kana in _KANA if len(parts := unicodedata.normalize("NFD", kana)) == 2}

_MARKED = re.compile("[\u3041-\u30ff][\u3099\u309a]")


def compose_voiced_kana(text: str) -> str:
    """Return the text with U+3099 and U+309A (dakuten, handakuten) joined to the kana before them.

    Nothing else is changed. Unicode's normalisation forms (UAX #15) would also replace the kanji of names: U+FA19, the
    old form of 神, would become U+795E.
    """
    return _MARKED.sub(lambda marked: _COMPOSED.get(marked[0], marked[0]), text)
