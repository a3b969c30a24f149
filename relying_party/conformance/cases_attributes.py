"""Cases about the four attributes: who has them, and what they must look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kazashi.jpki.profile import Kind
from kazashi.relying_party.conformance.authority import ATTRIBUTES, Bench, Material, attributes
from kazashi.relying_party.conformance.case import case
from kazashi.relying_party.conformance.cases_certificate import bent, with_value, without
from kazashi.relying_party.verify.attributes import ADDRESS_FLAGS, BIRTH, NAME, NAME_FLAGS, SEX
from kazashi.relying_party.verify.finding import Finding

AUTHENTICATION, SIGNATURE = Kind.AUTHENTICATION, Kind.SIGNATURE


@case(Finding.OFF_PROFILE)
def a_name_where_there_is_none(bench: Bench) -> Material:
    """An authentication certificate holds none of the four attributes. (act on JPKI, article 22)"""
    return bent(bench, AUTHENTICATION, with_value("attributes", attributes(ATTRIBUTES), critical=False))


@case(Finding.OFF_PROFILE)
def no_name_where_there_is_one(bench: Bench) -> Material:
    """A signature certificate holds the four attributes. (act on JPKI, article 7)"""
    return bent(bench, SIGNATURE, without("attributes"))


def _named(bench: Bench, *changes: tuple[str, str], order: Callable[[Any], Any] = tuple) -> Material:
    """A signature certificate with other values of the four attributes, in another order."""
    values = [(kind, dict(changes).get(kind, value)) for kind, value in ATTRIBUTES]
    return bent(bench, SIGNATURE, with_value("attributes", attributes(order(values)), critical=False))


@case(Finding.OFF_PROFILE)
def attributes_out_of_order(bench: Bench) -> Material:
    """The six names stand in one order. (JPKI profile)"""
    return _named(bench, order=lambda values: sorted(values))


@case(Finding.OFF_PROFILE)
def an_attribute_missing(bench: Bench) -> Material:
    """All six names are there. (JPKI profile)"""
    return _named(bench, order=lambda values: values[:-1])


@case(Finding.OFF_PROFILE)
def an_attribute_twice(bench: Bench) -> Material:
    """Each of the six names is there once: of two, one would be shown and the other checked. (JPKI profile)"""
    return _named(bench, order=lambda values: [*values, values[0]])


@case(Finding.OFF_PROFILE)
def too_few_flags_of_the_name(bench: Bench) -> Material:
    """There is a flag to each character of the name. (JPKI profile; test data in circulation breaks this)"""
    return _named(bench, (NAME_FLAGS, "0000"))


@case(Finding.OFF_PROFILE)
def too_many_flags_of_the_address(bench: Bench) -> Material:
    """There is a flag to each character of the address. (JPKI profile)"""
    return _named(bench, (ADDRESS_FLAGS, "0" * 41))


@case(Finding.OFF_PROFILE)
def flags_of_another_kind(bench: Bench) -> Material:
    """A flag is 0 or 1. (JPKI profile)"""
    return _named(bench, (NAME_FLAGS, "00002"))


@case(Finding.OFF_PROFILE)
def an_empty_name(bench: Bench) -> Material:
    """Nobody is without a name. (JPKI profile)"""
    return _named(bench, (NAME, ""), (NAME_FLAGS, ""))


@case(Finding.OFF_PROFILE)
def a_birth_on_a_day_that_never_was(bench: Bench) -> Material:
    """The date of birth is a date. (JPKI profile)"""
    return _named(bench, (BIRTH, "319880230"))


@case(Finding.OFF_PROFILE)
def a_birth_in_an_era_that_never_was(bench: Bench) -> Material:
    """The era's digit is 0 to 5. (JPKI profile)"""
    return _named(bench, (BIRTH, "719880417"))


@case()
def a_birth_of_which_the_day_is_not_known(bench: Bench) -> Material:
    """What is not known of a date of birth is 00. (JPKI profile)"""
    return _named(bench, (BIRTH, "319880400"))


@case(Finding.OFF_PROFILE)
def a_sex_that_is_not_recorded(bench: Bench) -> Material:
    """The sex is 1, 2 or 3, and 9 is taken for 3. (JPKI profile)"""
    return _named(bench, (SEX, "4"))


@case()
def a_sex_that_does_not_apply(bench: Bench) -> Material:
    """One reader in circulation writes 9 for a sex that is not known. (JPKI profile)"""
    return _named(bench, (SEX, "9"))


@case()
def a_substituted_character(bench: Bench) -> Material:
    """A character outside JIS X 0208 and 0212 is replaced, and its flag says so. (JPKI profile)"""
    return _named(bench, (NAME, "●野\u3000花子"), (NAME_FLAGS, "10000"))
