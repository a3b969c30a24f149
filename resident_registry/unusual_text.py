"""Names and addresses that a register would hardly have: half-width characters, or a dash of another kind.

A register is written in full-width characters throughout, also digits and the
letters of foreign residents' names. Software that is only tried with other ones meets the real ones too late.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_HALF_WIDTH = re.compile(r"[\x20-\x7e\u00a5\uff61-\uff9f]")
_VOWEL_DASH = re.compile(r"[0-9０-９]\s*[ーｰ]")
_OTHER_DASH = re.compile("[0-9０-９]\\s*([\u2010-\u2015\u2043\u2212\u2500\u2501\ufe58\ufe63])")
"""A digit and a dash that looks like the one of house numbers: hyphens and dashes of other texts, the minus sign, the
lines of boxes."""
_KANA = re.compile(r"[ァ-ヺー・\u3000]*")
_PREFECTURE = re.compile(r"(北海道|東京都|大阪府|京都府|神奈川県|和歌山県|鹿児島県|[^県市区町村]{2}県)")
_NAMES = {
    "family": "family name", "given": "given name", "former_surname": "former surname", "common_name": "common name",
    "kana": "reading", "former_surname_kana": "reading of the former surname", "street": "address",
}  # fmt: skip


def unusual_texts(fields: Mapping[str, object]) -> list[str]:
    """Return a sentence for each unusual name, reading or address among the fields of a resident or of an event, by
    their names in `resident_registry.resident.to_document`. Other fields, and empty ones, are ignored."""
    return [
        f"the {name} {value!r} {trouble}"
        for field, name in _NAMES.items()
        if isinstance(value := fields.get(field), str) and value not in ("", "-")
        for trouble in _troubles(field, value)
    ]


def _troubles(field: str, value: str) -> list[str]:
    troubles = []
    if half := dict.fromkeys(_HALF_WIDTH.findall(value)):
        each = ", ".join("a space" if character == " " else repr(character) for character in half)
        troubles.append(f"has half-width characters: {each}; registers are written in full-width ones")
    elif field.endswith("kana") and not _KANA.fullmatch(value):
        troubles.append("is not in katakana")
    if field == "street" and _VOWEL_DASH.search(value):
        troubles.append("has the sign of a long vowel after a digit; a house number has －")
    if field == "street" and (dash := _OTHER_DASH.search(value)):
        troubles.append(f"has {dash[1]} (U+{ord(dash[1]):04X}) after a digit; a house number has － (U+FF0D)")
    if field == "street" and _PREFECTURE.match(value):
        troubles.append("begins with a prefecture, which the municipality's code already says")
    return troubles
