"""The file of the tax agency's returns for a municipality (国税・地方税連携, 番号法19条 taxes): its records, and
returns that people may have made.

The file's kind is `tax-returns` and its period a year. A record has the agency's own number for the taxpayer, the
individual number (empty if the taxpayer has not written it), name, reading, birth, sex and address as the taxpayer has
written them, and the income in yen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from kazashi.provision_network.match_noise import PENSION_2006, KnownPerson, noisy
from kazashi.provision_network.matching import Attributes
from kazashi.provision_network.transfer_files import FileHeader, FileRejected, TransferFile, written
from kazashi.resident_registry.number import IndividualNumber

KIND = "tax-returns"
TAX_AGENCY = "国税庁"

NOISE = 0.35
"""The rate of the noise (`match_noise.py`) with which people write their name and address."""

WITHOUT_NUMBER, ANOTHERS_NUMBER = 0.10, 0.005
"""The shares of returns without an individual number, and with that of another person (both assumed)."""

_FIELDS = 8
_LONGEST_AMOUNT = 15


@dataclass(frozen=True, slots=True)
class TaxReturn:
    """A return: the agency's number for the taxpayer, the individual number or an empty text, what the taxpayer has
    written, and the income in yen."""

    reference: str
    individual_number: str
    attributes: Attributes
    income: int


def made_up_return(reference: str, number: str, true: Attributes, other_number: str, chance: Random) -> TaxReturn:
    """Return a return as a person may have made it. `other_number` is a number that they could write by mistake."""
    income = chance.randrange(100, 1_200) * 10_000 + chance.randrange(10_000)
    drawn = chance.random()
    if drawn < WITHOUT_NUMBER:
        number = ""
    elif drawn < WITHOUT_NUMBER + ANOTHERS_NUMBER:
        number = other_number
    return TaxReturn(reference, number, noisy(KnownPerson(true), PENSION_2006, NOISE, chance), income)


def file_of(receiver: str, year: int, returns: Sequence[TaxReturn], sender: str = TAX_AGENCY) -> bytes:
    """Return the content of the file for a municipality."""
    records = [
        [one.reference, one.individual_number, one.attributes.name, one.attributes.kana, one.attributes.birth,
         one.attributes.sex, one.attributes.address, str(one.income)] for one in returns
    ]  # fmt: skip
    return written(FileHeader(KIND, sender, receiver, str(year)), records)


def returns_in(file: TransferFile) -> list[TaxReturn]:
    """Parse the records of a file. Raises FileRejected for a malformed record, and if two are of one taxpayer
    (`bad-record`)."""
    returns: dict[str, TaxReturn] = {}
    for place, fields in enumerate(file.records, 1):
        if len(fields) != _FIELDS:
            raise FileRejected("bad-record", f"record {place} has {len(fields)} fields, and needs {_FIELDS}")
        reference, number, name, kana, birth, sex, address, income = fields
        if not (income.isascii() and income.isdigit() and len(income) <= _LONGEST_AMOUNT):
            raise FileRejected("bad-record", f"record {place}: the income is not a number")
        if number:
            try:
                IndividualNumber(number)
            except ValueError as error:
                raise FileRejected("bad-record", f"record {place}: {error}") from error
        if not reference or reference in returns:
            raise FileRejected("bad-record", f"record {place} has no number of its own")
        returns[reference] = TaxReturn(reference, number, Attributes(name, kana, birth, sex, address), int(income))
    return list(returns.values())
