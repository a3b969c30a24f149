"""Payment files in the format of the Zengin system (全銀協規定フォーマット, 総合振込): records of 120 bytes.

A header, a payment to each record, a trailer with count and sum, an end. Text is what the banks' systems take:
half-width katakana in its large forms, capital letters, digits and a few marks, in Shift_JIS.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import jaconv

LENGTH = 120
MOST_YEN = 9_999_999_999
MOST_PAYMENTS = 999_999
"""In one file."""

_ALLOWED = re.compile("[0-9A-Zｦ-ﾟ ()./¥｢｣,\\-]*")
_SMALL = str.maketrans("ｧｨｩｪｫｬｭｮｯ", "ｱｲｳｴｵﾔﾕﾖﾂ")
_KIND, _CODE = "21", "0"
_DATA, _TRAILER, _END = "2", "8", "9"


class PaymentRejected(Exception):
    """An account or a sum that no payment file can hold; the message says which."""


@dataclass(frozen=True, slots=True)
class Account:
    """A bank account. `kind` is 1 for an ordinary one (普通), 2 for a current one (当座); `holder` in katakana."""

    bank: str
    branch: str
    kind: str
    number: str
    holder: str

    def check(self) -> None:
        """Look at every part. Raises PaymentRejected."""
        for what, value, digits in (("bank", self.bank, 4), ("branch", self.branch, 3), ("number", self.number, 7)):
            if not re.fullmatch(f"[0-9]{{{digits}}}", value):
                raise PaymentRejected(f"the {what} has {digits} digits, unlike {value!r}")
        if self.kind not in ("1", "2"):
            raise PaymentRejected("the account is an ordinary one (1) or a current one (2)")
        if not kana(self.holder).strip():
            raise PaymentRejected("the holder's name is missing")


@dataclass(frozen=True, slots=True)
class Payment:
    """Yen to an account; `reference` is the payer's own number, up to ten digits, which comes back with a failure."""

    account: Account
    yen: int
    reference: int


def kana(text: str) -> str:
    """A name as the banks have it. Raises PaymentRejected for one that katakana cannot write."""
    found = jaconv.z2h(jaconv.hira2kata(text), kana=True, digit=True, ascii=True).upper().replace("ｰ", "-")
    found = found.translate(_SMALL)
    if not _ALLOWED.fullmatch(found):
        raise PaymentRejected(f"{text!r} cannot be written in half-width katakana")
    return found


def payment_file(payer: str, payer_code: str, account: Account, day: date, payments: Sequence[Payment]) -> bytes:
    """A whole file, with CR LF after each record. Raises PaymentRejected."""
    if not re.fullmatch("[0-9]{10}", payer_code):
        raise PaymentRejected(f"a payer's code has ten digits, unlike {payer_code!r}")
    if not 0 < len(payments) <= MOST_PAYMENTS:
        raise PaymentRejected(f"a file holds 1 to {MOST_PAYMENTS:,} payments")
    account.check()
    header = (
        f"1{_KIND}{_CODE}{payer_code}" + _text(payer, 40) + f"{day:%m%d}{account.bank}" + " " * 15 + account.branch
        + " " * 15 + account.kind + account.number + " " * 17
    )  # fmt: skip
    records = [header, *map(_data, payments)]
    total = sum(payment.yen for payment in payments)
    if total > 999_999_999_999:
        raise PaymentRejected(f"a file sums up to twelve digits, not {total}")
    records.append(f"{_TRAILER}{len(payments):06}{total:012}" + " " * 101)
    records.append(_END + " " * 119)
    encoded = [record.encode("shift_jis") for record in records]
    assert all(len(record) == LENGTH for record in encoded)
    return b"".join(record + b"\r\n" for record in encoded)


def _data(payment: Payment) -> str:
    payment.account.check()
    if not 0 < payment.yen <= MOST_YEN or not 0 <= payment.reference < 10**10:
        raise PaymentRejected(f"{payment.yen} yen under {payment.reference} cannot be paid")
    account = payment.account
    return (
        f"{_DATA}{account.bank}" + " " * 15 + account.branch + " " * 15 + "0000" + account.kind + account.number
        + _text(account.holder, 30) + f"{payment.yen:010}0{payment.reference:010}" + "0" * 10 + "7" + " " + " " * 7
    )  # fmt: skip


def _text(text: str, length: int) -> str:
    found = kana(text)
    if len(found) > length:
        found = found[:length]  # the banks cut names that are too long, and compare what is left
    return found.ljust(length)
