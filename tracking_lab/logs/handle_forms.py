"""The forms of handles: which texts are the same handle, in Python for one text and in SQL for a whole column.

The key of a text is what it is compared by. A serial number that could be hexadecimal or decimal has a key that begins
with OPEN; serial_digits.py settles those.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable
from statistics import median

from kazashi.jpki.serial_number import NotASerialNumber, read_serial, serial_text
from kazashi.tracking_lab.logs.mapping import Digits, HandleForm

OPEN = "\x01"
"""How the key of a serial number begins that has two readings. No other key begins with a control character."""

BLANKS = " \t\r\n\v\f\u00a0\u3000"
_LEAST_SHARE, _LEAST_MEDIAN = 0.95, 1 << 20
"""Handles are taken for a form if at least this share of a sample has it; for serial numbers, if half of them are at
least this large, because short numbers and words can be hexadecimal too."""

_UUID = r"(?:urn:uuid:)?\{?([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})\}?"
_MYKEY = r"[0-9A-Z]{4}[ -]?[0-9A-Z]{4}"
_HEX_DIGEST = "[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128}"
_BASE64_DIGEST = "[A-Za-z0-9+/]{27}|[A-Za-z0-9+/]{43}|[A-Za-z0-9+/]{64}|[A-Za-z0-9+/]{86}"
"""Digests of 16, 20, 32, 48 and 64 octets; base64 of all but the first, without its padding."""

_OCTETS = "[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{2}){1,19}|[0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){1,19}"
_BOTH = r"([0-9]{1,40}) \(0x([0-9A-Fa-f]{1,40})\)"
_LABEL = r"(?i)^serial ?(?:number)?(?: \(hex\))?\s*[:=]\s*"
_BRACKETS = r"^\[\s*(.*?)\s*\]$"


def key(text: str, form: HandleForm, digits: Digits | None = None) -> str | None:
    """The key of a text, or None if it cannot be read in its form. For a serial number with two readings, OPEN and its
    digits."""
    text = text.strip(BLANKS)
    match form:
        case HandleForm.SERIAL:
            return _serial_key(text, digits)
        case HandleForm.UUID:
            match_uuid = re.fullmatch(_UUID, text.lower())
            return None if match_uuid is None else match_uuid[1].replace("-", "")
        case HandleForm.MYKEY:
            match_mykey = re.fullmatch(_MYKEY, text.upper())
            return None if match_mykey is None else re.sub("[ -]", "", match_mykey[0])
        case HandleForm.HASH:
            return _digest_key(text)
        case HandleForm.OPAQUE:
            return text if text >= " " else None


def _serial_key(text: str, digits: Digits | None) -> str | None:
    try:
        reading = read_serial(text)
    except NotASerialNumber:
        return None
    if reading.hexadecimal is None or reading.decimal is None:
        return serial_text(reading.readings[0])
    if digits is None:
        return OPEN + reading.text
    return serial_text(reading.decimal if digits is Digits.DECIMAL else reading.hexadecimal)


def _digest_key(text: str) -> str | None:
    plain = text.replace(":", "").lower()
    if re.fullmatch(_HEX_DIGEST, plain):
        return plain
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    if not re.fullmatch(_BASE64_DIGEST, standard):
        return None
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4)).hex()
    except binascii.Error:
        return None


def trimmed(column: str) -> str:
    """The SQL expression of a text without the blanks around it. DuckDB's trim is slow, and few texts need it."""
    blanks = f"'{BLANKS}'"
    return (
        f"CASE WHEN contains({blanks}, {column}[1]) OR contains({blanks}, {column}[-1]) THEN trim({column}, {blanks}) "
        f"ELSE {column} END"
    )


def key_columns(text: str, form: HandleForm, digits: Digits | None) -> tuple[str, str, str]:
    """Three SQL expressions for a trimmed text: `part` and `numeral`, to be evaluated first and second under these
    names; then the key. They agree with `key` on every text."""
    match form:
        case HandleForm.SERIAL:
            return _serial_columns(text, digits)
        case HandleForm.UUID:
            part = f"regexp_extract(lower({text}), '^(?:{_UUID})$', 1)"
            return part, "part", "nullif(replace(numeral, '-', ''), '')"
        case HandleForm.MYKEY:
            folded = "replace(replace(part, ' ', ''), '-', '')"
            return f"upper({text})", f"CASE WHEN regexp_full_match(part, '{_MYKEY}') THEN {folded} END", "numeral"
        case HandleForm.HASH:
            return _digest_columns(text)
        case HandleForm.OPAQUE:
            return text, "part", "CASE WHEN numeral >= ' ' THEN numeral END"


def _serial_columns(text: str, digits: Digits | None) -> tuple[str, str, str]:
    bare = (
        f"CASE WHEN contains('sS[', {text}[1]) THEN regexp_replace(regexp_replace({text}, '{_LABEL}', ''), "
        f"'{_BRACKETS}', '\\1') ELSE {text} END"
    )
    second = f"regexp_extract(part, '^{_BOTH}$', 2)"
    numeral = (
        "CASE WHEN regexp_full_match(part, '[0-9A-Fa-f]+') AND length(part) <= 40 THEN "
        "CASE WHEN part[1] = '0' THEN ltrim(part, '0') ELSE part END "
        "WHEN regexp_full_match(part, '0[xX][0-9A-Fa-f]+') AND length(part) <= 42 THEN ltrim(part[3:], '0') "
        f"WHEN regexp_full_match(part, '{_OCTETS}') THEN ltrim(replace(replace(part, ':', ''), ' ', ''), '0') "
        f"WHEN TRY_CAST(regexp_extract(part, '^{_BOTH}$', 1) AS UBIGINT) = "
        f"TRY_CAST(concat('0x', {second}) AS UBIGINT) THEN ltrim({second}, '0') END"
    )
    decimal = octets_of("hex(TRY_CAST(part AS UBIGINT))")
    hexadecimal = octets_of("upper(numeral)")
    short = {Digits.DECIMAL: decimal, Digits.HEXADECIMAL: hexadecimal, None: f"concat('{OPEN}', part)"}[digits]
    key = (
        f"CASE WHEN numeral = part AND length(part) > 1 AND regexp_full_match(part, '[0-9]+') THEN "
        f"CASE WHEN length(part) > 16 THEN {decimal} ELSE {short} END "
        f"WHEN length(numeral) BETWEEN 1 AND 16 THEN {hexadecimal} END"
    )
    return bare, numeral, key


def octets_of(digits: str) -> str:
    """The SQL expression of hexadecimal digits in whole octets."""
    return f"CASE WHEN length({digits}) % 2 = 1 THEN concat('0', {digits}) ELSE {digits} END"


def _digest_columns(text: str) -> tuple[str, str, str]:
    standard = f"replace(replace(rtrim({text}, '='), '-', '+'), '_', '/')"
    padded = f"concat({standard}, repeat('=', (4 - length({standard}) % 4) % 4))"
    return (
        f"lower(replace({text}, ':', ''))",
        "part",
        (
            f"CASE WHEN regexp_full_match(part, '{_HEX_DIGEST}') THEN part "
            f"WHEN regexp_full_match({standard}, '{_BASE64_DIGEST}') THEN lower(hex(TRY(from_base64({padded})))) END"
        ),
    )


def detect(texts: Collection[str]) -> HandleForm:
    """The form of a sample of distinct handles; OPAQUE if no other fits."""

    def mostly(form: HandleForm, those: Iterable[str]) -> bool:
        return sum(key(text, form) is not None for text in those) >= _LEAST_SHARE * len(texts)

    if not texts:
        return HandleForm.OPAQUE
    plain = sum(re.fullmatch("[0-9A-Fa-f]{32}", text.strip()) is not None for text in texts)
    if plain < len(texts) and mostly(HandleForm.UUID, texts):
        return HandleForm.UUID
    if mostly(HandleForm.HASH, texts):
        return HandleForm.HASH
    if mostly(HandleForm.SERIAL, texts) and not all(re.fullmatch("[0-9]+", text.strip()) for text in texts):
        numbers = [min(read_serial(text).readings) for text in texts if key(text, HandleForm.SERIAL) is not None]
        if median(numbers) >= _LEAST_MEDIAN:
            return HandleForm.SERIAL
    if mostly(HandleForm.MYKEY, texts) and any(re.search("[G-Z]", text.upper()) for text in texts):
        return HandleForm.MYKEY
    return HandleForm.OPAQUE
