"""Cases about the four attributes: which certificates contain them, and their form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from kazashi.jpki.profile import CertificateType
from kazashi.relying_party.conformance.authority import (
    ATTRIBUTES,
    CaseInput,
    TestAuthority,
    attributes,
)
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.conformance.cases_certificate import altered, with_extension, without
from kazashi.relying_party.verify.attributes import ADDRESS_FLAGS, BIRTH, NAME, NAME_FLAGS, SEX
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = CertificateType.AUTHENTICATION, CertificateType.SIGNATURE


@case(
    "attributes/a-name-where-there-is-none",
    "An authentication certificate contains none of the four attributes. (act on JPKI, article 22)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, AUTHENTICATION, with_extension("attributes", attributes(ATTRIBUTES), critical=False))


@case(
    "attributes/no-name-where-there-is-one",
    "A signature certificate contains the four attributes. (act on JPKI, article 7)",
    breaks="extensions-as-they-are",
)
def _(ca: TestAuthority) -> CaseInput:
    return altered(ca, SIGNATURE, without("attributes"))


def _with_attributes(ca: TestAuthority, *changes: tuple[str, str], order: Callable[[Any], Any] = tuple) -> CaseInput:
    """A signature certificate whose four attributes have other values or another order."""
    values = [(kind, dict(changes).get(kind, value)) for kind, value in ATTRIBUTES]
    return altered(ca, SIGNATURE, with_extension("attributes", attributes(order(values)), critical=False))


@case(
    "attributes/attributes-out-of-order",
    "The six otherNames have a fixed order. (JPKI profile)",
    breaks="four-attributes",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, order=lambda values: sorted(values))


@case("attributes/an-attribute-missing", "All six otherNames are present. (JPKI profile)", breaks="four-attributes")
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, order=lambda values: values[:-1])


@case(
    "attributes/an-attribute-twice",
    "Each of the six otherNames occurs once: of two, one could be displayed and the other checked. (JPKI profile)",
    breaks="four-attributes",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, order=lambda values: [*values, values[0]])


@case(
    "attributes/too-few-flags-of-the-name",
    "There is one substitution flag for each character of the name. (JPKI profile; test data in circulation breaks "
    "this)",
    breaks="four-attributes",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (NAME_FLAGS, "0000"))


@case(
    "attributes/too-many-flags-of-the-address",
    "There is one substitution flag for each character of the address. (JPKI profile)",
    breaks="four-attributes",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (ADDRESS_FLAGS, "0" * 41))


@case("attributes/flags-of-another-kind", "A substitution flag is 0 or 1. (JPKI profile)", breaks="four-attributes")
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (NAME_FLAGS, "00002"))


@case(
    "attributes/text-instead-of-names",
    "The subject's other names are encoded as names, not as bare text. (RFC 5280, 4.2.1.6; x509-limbo: "
    "rfc5280::san::malformed)",
    Finding.MALFORMED,
)
def _(ca: TestAuthority) -> CaseInput:
    value = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, "番号　花子".encode())
    return altered(ca, SIGNATURE, with_extension("attributes", value, critical=False))


@case("attributes/an-empty-name", "The name is not empty. (JPKI profile)", breaks="four-attributes")
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (NAME, ""), (NAME_FLAGS, ""))


@case(
    "attributes/a-birth-on-a-day-that-never-was",
    "The date of birth is a date of the calendar. (JPKI profile)",
    breaks="four-attributes",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (BIRTH, "319880230"))


@case(
    "attributes/a-birth-in-an-era-that-never-was", "The era's digit is 0 to 5. (JPKI profile)", breaks="four-attributes"
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (BIRTH, "719880417"))


@case("attributes/a-birth-of-which-the-day-is-not-known", "An unknown part of a date of birth is 00. (JPKI profile)")
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (BIRTH, "319880400"))


@case(
    "attributes/a-sex-that-is-not-recorded",
    "The sex is 1, 2 or 3, and 9 is treated as 3. (JPKI profile)",
    breaks="four-attributes",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (SEX, "4"))


@case(
    "attributes/a-sex-that-does-not-apply",
    "A sex of 9 is accepted: one reader in circulation writes it for a sex that is not known. (JPKI profile)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (SEX, "9"))


@case(
    "attributes/a-substituted-character",
    "A character outside JIS X 0208 and JIS X 0212 is replaced, and its flag is 1. (JPKI profile)",
)
def _(ca: TestAuthority) -> CaseInput:
    return _with_attributes(ca, (NAME, "●野\u3000花子"), (NAME_FLAGS, "10000"))
