"""The checks of an ATR."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.reader_bridge.check.behaviour import AtrForm
from kazashi.reader_bridge.check.case import Findings, NotApplicable
from kazashi.reader_bridge.check.probe import Probe
from kazashi.reader_bridge.check.run import CASES
from kazashi.reader_bridge.fault_script import ATRS
from tests.reader_bridge.checking import (
    StubCard,
)

pytestmark = pytest.mark.unit

INTERFACE_BYTES = {
    "plain": ({1}, True, 8), "extended": ({1}, True, 8), "short": ({1}, True, 7), "reader-made-1": ({1}, True, 11),
    "reader-made-2": ({1}, True, 11), "contactless-plain": ({0, 1}, True, 4), "contactless-second": ({0, 1}, True, 4),
    "contactless-third": ({0, 1}, True, 4), "contactless-fourth": ({0, 1}, True, 4), "T=0": ({0}, False, 4),
    "T=0 and T=1": ({0, 1}, True, 4),
}  # fmt: skip
"""For each ATR, the protocols it offers, whether it ends in a check byte, and where its interface bytes end."""


def offered_protocols(atr: bytes) -> tuple[set[int], bool]:
    form = AtrForm.of(atr)
    return set(form.offered), form.check_byte


@pytest.mark.parametrize("name", ATRS)
def test_protocols_offered_by_an_atr(name: str) -> None:
    offered, check_byte, end = INTERFACE_BYTES[name]
    assert offered_protocols(ATRS[name]) == (offered, check_byte)
    assert offered_protocols(ATRS[name][:end]) == (offered, check_byte)


@pytest.mark.parametrize("name", ATRS)
def test_atr_that_ends_in_its_interface_bytes_is_rejected(name: str) -> None:
    for end in range(INTERFACE_BYTES[name][2]):
        with pytest.raises(NotApplicable):
            offered_protocols(ATRS[name][:end])


@given(st.binary(max_size=40) | st.binary(max_size=8).map(lambda tail: b"\x3b\xf0" + tail))
def test_any_bytes_are_an_atr_or_are_rejected(atr: bytes) -> None:
    with suppress(NotApplicable):
        offered, check_byte = offered_protocols(atr)
        assert offered
        assert offered <= set(range(16))
        assert check_byte is (offered != {0})


def atr_form(atr: bytes) -> Findings:
    """Return the observations of the check of an ATR's form."""
    findings = Findings()
    (case,) = [case for case in CASES if case.name == "atr.form"]
    case.look(Probe("reader", StubCard(atr)), findings)
    return findings


@pytest.mark.parametrize("name", ATRS)
def test_known_atrs_are_well_formed(name: str) -> None:
    assert atr_form(ATRS[name]).wrong == []


@pytest.mark.parametrize(
    "atr",
    [
        "3CE000FF8131FE4514", "3BE000FF8131FE4515", "3BE000FF8131FE45", "3BE000FF81", "3BE000", "3B60", "3B",
        "3B620000AA", "3B6000000000", "3B" + "00" * 33,
    ],
)  # fmt: skip
def test_malformed_atr_is_detected(atr: str) -> None:
    assert atr_form(bytes.fromhex(atr)).wrong
