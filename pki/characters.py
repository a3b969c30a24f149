"""Replacement of characters that a certificate cannot hold: those outside JIS X 0208 and JIS X 0212."""

from __future__ import annotations

_FIRST_SELECTOR, _LAST_SELECTOR = 0xFE00, 0xFE0F
_FIRST_IDEOGRAPHIC_SELECTOR, _LAST_IDEOGRAPHIC_SELECTOR = 0xE0100, 0xE01EF


def substituted(text: str, substitute: str) -> tuple[str, str]:
    """Return the text with `substitute` for characters that do not fit, and a string of flags.

    A character that fits stays as it was written, also where Unicode has two code points for it: the certificate's
    UTF-8 can hold both, and a flag says that the register has another character, which is not so.

    The flags are `1` for each character that was replaced and `0` for the others, so that both strings have the same
    length. Variation selectors are left out of both, because they choose a glyph and are not characters.
    """
    characters = [character for character in text if not _is_selector(character)]
    fits = [_representable(character) for character in characters]
    return (
        "".join(character if fit else substitute for character, fit in zip(characters, fits, strict=True)),
        "".join("0" if fit else "1" for fit in fits),
    )


_SECOND_SPELLINGS = frozenset("\u2014\uff5e\u2225\uff0d\uffe0\uffe1\uffe2\uffe4")
"""— ～ ∥ － ￠ ￡ ￢ ￤, which are 1-29, 1-33, 1-34, 1-61, 1-81, 1-82 and 2-44 of JIS X 0208 and 2-35 of JIS X 0212 on
Windows (code page 932, eucJP-ms; the first in JIS X 0213). The codec below has U+2015, U+301C, U+2016, U+2212, U+00A2,
U+00A3, U+00AC and U+00A6 for them. Input methods on Windows write － (U+FF0D) in house numbers."""


def _representable(character: str) -> bool:
    if character in _SECOND_SPELLINGS:
        return True
    try:
        character.encode("euc_jp")  # ASCII, JIS X 0201, 0208 and 0212
    except UnicodeEncodeError:
        return False
    return True


def _is_selector(character: str) -> bool:
    code = ord(character)
    return (
        _FIRST_SELECTOR <= code <= _LAST_SELECTOR or _FIRST_IDEOGRAPHIC_SELECTOR <= code <= _LAST_IDEOGRAPHIC_SELECTOR
    )
