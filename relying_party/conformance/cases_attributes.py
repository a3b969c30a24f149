"""Cases about the four attributes: who has them, and what they must look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    ATTRIBUTES,
    CaseInput,
    TestAuthority,
    attributes,
)
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.conformance.cases_certificate import bent, with_value, without
from kazashi.relying_party.verify.attributes import ADDRESS_FLAGS, BIRTH, NAME, NAME_FLAGS, SEX
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE


@case(
    "attributes/a-name-where-there-is-none",
    "An authentication certificate holds none of the four attributes. (act on JPKI, article 22)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, AUTHENTICATION, with_value("attributes", attributes(ATTRIBUTES), critical=False))


@case(
    "attributes/no-name-where-there-is-one",
    "A signature certificate holds the four attributes. (act on JPKI, article 7)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return bent(ca, SIGNATURE, without("attributes"))


def _named(ca: TestAuthority, *changes: tuple[str, str], order: Callable[[Any], Any] = tuple) -> CaseInput:
    """A signature certificate with other values of the four attributes, in another order."""
    values = [(kind, dict(changes).get(kind, value)) for kind, value in ATTRIBUTES]
    return bent(ca, SIGNATURE, with_value("attributes", attributes(order(values)), critical=False))


@case("attributes/attributes-out-of-order", "The six names stand in one order. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, order=lambda values: sorted(values))


@case("attributes/an-attribute-missing", "All six names are there. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, order=lambda values: values[:-1])


@case(
    "attributes/an-attribute-twice",
    "Each of the six names is there once: of two, one would be shown and the other checked. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, order=lambda values: [*values, values[0]])


@case(
    "attributes/too-few-flags-of-the-name",
    "There is a flag to each character of the name. (JPKI profile; test data in circulation breaks this)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (NAME_FLAGS, "0000"))


@case(
    "attributes/too-many-flags-of-the-address",
    "There is a flag to each character of the address. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (ADDRESS_FLAGS, "0" * 41))


@case("attributes/flags-of-another-kind", "A flag is 0 or 1. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (NAME_FLAGS, "00002"))


@case("attributes/an-empty-name", "Nobody is without a name. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (NAME, ""), (NAME_FLAGS, ""))


@case("attributes/a-birth-on-a-day-that-never-was", "The date of birth is a date. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (BIRTH, "319880230"))


@case("attributes/a-birth-in-an-era-that-never-was", "The era's digit is 0 to 5. (JPKI profile)", Finding.OFF_PROFILE)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (BIRTH, "719880417"))


@case("attributes/a-birth-of-which-the-day-is-not-known", "What is not known of a date of birth is 00. (JPKI profile)")
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (BIRTH, "319880400"))


@case(
    "attributes/a-sex-that-is-not-recorded",
    "The sex is 1, 2 or 3, and 9 is taken for 3. (JPKI profile)",
    Finding.OFF_PROFILE,
)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (SEX, "4"))


@case(
    "attributes/a-sex-that-does-not-apply",
    "One reader in circulation writes 9 for a sex that is not known. (JPKI profile)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (SEX, "9"))


@case(
    "attributes/a-substituted-character",
    "A character outside JIS X 0208 and 0212 is replaced, and its flag says so. (JPKI profile)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _named(ca, (NAME, "●野\u3000花子"), (NAME_FLAGS, "10000"))
