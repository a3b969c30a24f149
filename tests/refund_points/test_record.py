"""Signed records: the round trip, and invalid records."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.refund_points.goods import points_of
from kazashi.refund_points.record import PointRecord, PointRecordRejected, PostingType, SignedRecord, TillKey
from tests.refund_points.tills import RECORD

pytestmark = pytest.mark.unit


def test_a_signed_record_is_read_back_unchanged() -> None:
    key = TillKey.generate()
    for record in (RECORD, replace(RECORD, what=PostingType.RETURN, eligible=-1_100, points=-20, of="x"),
                   replace(RECORD, lines=(("lunch", 1, 1_100),), unchecked=True)):  # fmt: skip
        signed = SignedRecord.from_wire(key.sign(record).to_wire())
        assert signed.verified(TillKey.from_pem(key.pem).public) == record


@pytest.mark.parametrize(
    "wrong",
    [{"points": 21}, {"points": -20}, {"eligible": -1}, {"number": 0}, {"number": True}, {"number": 2**60}, {"at": -1},
     {"till": "Rice/x/1"}, {"till": "x/y"}, {"reading": "x" * 300}, {"eligible": 10**12, "points": points_of(10**12)},
     {"what": PostingType.RETURN}, {"what": PostingType.RETURN, "eligible": -1_100, "points": -50, "of": "x"},
     {"reading": "a\0b"},
     {"lines": (("a\0", 1, 1),)}, {"lines": (("a", 0, 1),)}, {"what": PostingType.SHOWN_LATER}, {"unchecked": 1},
     {"reading": 5}],
)  # fmt: skip
def test_invalid_records_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(PointRecordRejected):
        TillKey.generate().sign(replace(RECORD, **wrong))
    with suppress(AttributeError), pytest.raises(PointRecordRejected):
        PointRecord.from_bytes(replace(RECORD, **wrong).to_bytes())


@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode), st.just(b"[" * 5_000)))
def test_arbitrary_bytes_are_rejected(body: bytes) -> None:
    with pytest.raises(PointRecordRejected):
        PointRecord.from_bytes(body)
