"""Payment files in the format of the Zengin system (全銀協規定フォーマット, 総合振込): records of 120 bytes.

A file has a header record, one record per payment, a trailer record with the count and the sum, and an end record.
Names are limited to what banks accept in the name of an account, in Shift_JIS: half-width katakana without small forms
and without ヲ, capital letters, digits, a blank, and `( ) - .`. The banks' telegrams could also carry ヲ and
`, / ¥ ｢ ｣`, which no account's name has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import jaconv

from kazashi.world.voiced_kana import compose_voiced_kana

LENGTH = 120
"""The length of a record, in bytes."""
MOST_YEN = 9_999_999_999
"""The maximum sum of one payment."""
MOST_PAYMENTS = 999_999
"""The maximum number of payments in one file."""

_ALLOWED = re.compile("[0-9A-Zｱ-ﾟ ().-]*")
_SPELLINGS = str.maketrans({
    **dict(zip("ヵヶヮヰヱヲゎゐゑを", "カケワイエオワイエオ", strict=True)),
    **dict.fromkeys("\u2010\u2011\u2013\u2014\u2015\u2212\uff0d", "-"),
    **dict(zip("・･゛゜", "..ﾞﾟ", strict=True)),
})  # fmt: skip
"""What banks write for characters that accounts' names do not have: large kana of the same sound, a hyphen for every
dash (also the one that lengthens a vowel, for which lists of banks may have U+FF0D), a full stop for a middle dot."""
_HALF_WIDTH = str.maketrans("ｦｧｨｩｪｫｬｭｮｯｰabcdefghijklmnopqrstuvwxyz", "ｵｱｲｳｴｵﾔﾕﾖﾂ-ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_KIND, _CODE = "21", "0"
_DATA, _TRAILER, _END = "2", "8", "9"


class PaymentRejected(Exception):
    """A payment file cannot hold the account, name or sum; the message says which."""


@dataclass(frozen=True, slots=True)
class Account:
    """A bank account. `kind` is 1 for an ordinary account (普通), 2 for a current account (当座) and 4 for a savings
    account (貯蓄). `holder` is in katakana."""

    bank: str
    branch: str
    kind: str
    number: str
    holder: str

    def check(self) -> None:
        """Check every field. Raises PaymentRejected."""
        for what, value, digits in (("bank", self.bank, 4), ("branch", self.branch, 3), ("number", self.number, 7)):
            if not re.fullmatch(f"[0-9]{{{digits}}}", value):
                raise PaymentRejected(f"the {what} must have {digits} digits, not {value!r}")
        if self.kind not in ("1", "2", "4"):
            raise PaymentRejected(
                f"the kind of account must be 1 (ordinary), 2 (current) or 4 (savings), not {self.kind!r}"
            )
        if not re.search("[0-9A-Zｱ-ﾝ]", kana(self.holder)):
            raise PaymentRejected("the account holder's name is missing")


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment of `yen` to an account. `reference` is the payer's own number of up to ten digits, which the bank
    returns with a failed payment."""

    account: Account
    yen: int
    reference: int


def kana(text: str) -> str:
    """Return a name in the banks' character set. Raises PaymentRejected if that is not possible."""
    katakana = jaconv.hira2kata(compose_voiced_kana(text).translate(_SPELLINGS)).translate(_SPELLINGS)
    converted = jaconv.z2h(katakana, kana=True, digit=True, ascii=True).translate(_HALF_WIDTH)
    if other := sorted({character for character in converted if not _ALLOWED.fullmatch(character)}):
        raise PaymentRejected(f"{text!r} cannot be the name of an account: banks have no {' '.join(other)} in names")
    if mark := re.search("(?<![ｱ-ﾝ])[ﾞﾟ]", converted):
        raise PaymentRejected(
            f"{text!r} cannot be the name of an account: it has the sound mark {mark[0]} without a katakana before it"
        )
    return converted


def payment_file(payer: str, payer_code: str, account: Account, day: date, payments: Sequence[Payment]) -> bytes:
    """Return a payment file, with CR LF after each record. Raises PaymentRejected."""
    if not re.fullmatch("[0-9]{10}", payer_code):
        raise PaymentRejected(f"the payer's code must have ten digits, not {payer_code!r}")
    if not 0 < len(payments) <= MOST_PAYMENTS:
        raise PaymentRejected(f"a file must have 1 to {MOST_PAYMENTS:,} payments, not {len(payments):,}")
    account.check()
    header = (
        f"1{_KIND}{_CODE}{payer_code}" + _text(payer, 40) + f"{day:%m%d}{account.bank}" + " " * 15 + account.branch
        + " " * 15 + account.kind + account.number + " " * 17
    )  # fmt: skip
    records = [header, *map(_data, payments)]
    total = sum(payment.yen for payment in payments)
    if total > 999_999_999_999:
        raise PaymentRejected(f"the sum of a file must have at most twelve digits, not {total}")
    records.append(f"{_TRAILER}{len(payments):06}{total:012}" + " " * 101)
    records.append(_END + " " * 119)
    encoded = [record.encode("shift_jis") for record in records]
    assert all(len(record) == LENGTH for record in encoded)
    return b"".join(record + b"\r\n" for record in encoded)


def _data(payment: Payment) -> str:
    payment.account.check()
    if not 0 < payment.yen <= MOST_YEN or not 0 <= payment.reference < 10**10:
        raise PaymentRejected(f"a payment of {payment.yen} yen with the reference {payment.reference} is out of range")
    account = payment.account
    return (
        f"{_DATA}{account.bank}" + " " * 15 + account.branch + " " * 15 + "0000" + account.kind + account.number
        + _text(account.holder, 30) + f"{payment.yen:010}0{payment.reference:010}" + "0" * 10 + "7" + " " + " " * 7
    )  # fmt: skip


def _text(text: str, length: int) -> str:
    """Return a field of `length` characters. Banks truncate names that are too long and compare the rest."""
    return kana(text)[:length].ljust(length)
