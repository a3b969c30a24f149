"""Codes: one per person and institution, which only the core can link."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.provision_network.codes import (
    Coder,
    ForeignCode,
    InstitutionCode,
    LinkageCode,
    PortalCode,
    ProvisionIdentifier,
    RecordCode,
    SoftwareCipher,
)

pytestmark = pytest.mark.unit

KEY = bytes(range(32))
NUMBERS = st.integers(1, 2**56 - 1)
INSTITUTIONS = st.integers(1, 2**32 - 1)


@given(NUMBERS, NUMBERS, INSTITUTIONS, INSTITUTIONS)
def test_b7_codes_differ_by_person_and_institution_and_convert(one: int, other: int, a: int, c: int) -> None:
    coder = Coder(SoftwareCipher(KEY))
    person = LinkageCode(one)
    at_a, at_c = coder.institution(person, a), coder.institution(person, c)
    assert (at_a == at_c) is (a == c)
    assert (coder.institution(LinkageCode(other), a) == at_a) is (one == other), "injective in the person"
    assert coder.convert(at_a, a, c) == at_c
    assert coder.linkage(at_c, c) == person


@given(NUMBERS, INSTITUTIONS, INSTITUTIONS)
def test_b7_a_code_of_another_institution_is_refused(number: int, a: int, c: int) -> None:
    coder = Coder(SoftwareCipher(KEY))
    code = coder.institution(LinkageCode(number), a)
    if a != c:
        with pytest.raises(ForeignCode):
            coder.convert(code, c, a)
    with pytest.raises(ForeignCode):
        coder.linkage(PortalCode(code.value))
    with pytest.raises(ForeignCode):
        Coder(SoftwareCipher(KEY[::-1])).linkage(code, a)


@given(st.binary(min_size=16, max_size=16), INSTITUTIONS)
def test_a_code_not_issued_by_the_core_is_refused(value: bytes, a: int) -> None:
    with pytest.raises(ForeignCode):
        Coder(SoftwareCipher(KEY)).linkage(InstitutionCode(value), a)


def test_b7_codes_cannot_be_linked_without_the_key() -> None:
    coder = Coder(SoftwareCipher(KEY))
    pairs = [(coder.institution(LinkageCode(n), 7).value, coder.institution(LinkageCode(n), 8).value)
             for n in range(1, 2001)]  # fmt: skip
    same = sum(bin(x ^ y).count("1") for a, b in pairs for x, y in zip(a, b, strict=True)) / (2000 * 128)
    assert 0.49 < same < 0.51, "half of the bits agree, as in codes of different people"
    # Pairing them by rank, as an attacker without the key might, is right about once in all.
    by_rank = zip(sorted(a for a, _ in pairs), sorted(b for _, b in pairs), strict=True)
    assert sum(pair in set(pairs) for pair in by_rank) < 10


def test_b6_a_linkage_code_cannot_be_serialised_or_printed() -> None:
    code = LinkageCode(123456789)
    for attempt in (pickle.dumps, copy.copy, json.dumps):
        with pytest.raises(TypeError):
            attempt(code)
    assert "123456789" not in f"{code} {code!r}"
    assert not issubclass(LinkageCode, ProvisionIdentifier)
    for wrong in (0, -1, 2**56):
        with pytest.raises(ValueError, match="a linkage code must be"):
            LinkageCode(wrong)


def test_b10_all_codes_are_provision_identifiers() -> None:
    coder, person = Coder(SoftwareCipher(KEY)), LinkageCode(5)
    codes = [coder.institution(person, 1), coder.portal(person), coder.record(person)]
    assert [type(code) for code in codes] == [InstitutionCode, PortalCode, RecordCode]
    assert all(isinstance(code, ProvisionIdentifier) for code in codes)
    assert len({code.value for code in codes}) == 3
    for code in codes:
        assert type(code).parse(str(code)) == code


@pytest.mark.parametrize("wrong", ["", "x" * 32, "0" * 31, "0" * 33, "A" * 32, None, 5, b"0" * 32])
def test_an_invalid_code_is_refused(wrong: object) -> None:
    with pytest.raises(ForeignCode):
        InstitutionCode.parse(wrong)
    with pytest.raises(ForeignCode):
        InstitutionCode(b"")
