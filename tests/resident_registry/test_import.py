"""Imports of resident files: either all people in a file are registered, or none."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import date

import pytest

from kazashi.assembly.institutions import Institutions
from kazashi.resident_registry.import_file import documents_in
from kazashi.resident_registry.registry import ImportRejected
from kazashi.resident_registry.resident import Name
from tests.resident_registry.support import HANAKO, TSUKUBA

LINE = {"alias": "a", "family": "模擬", "given": "一郎", "birth": "1990-01-01", "sex": "1", "municipality": "13113",
        "street": "架空町１"}  # fmt: skip


def lines(documents: Iterable[object]) -> bytes:
    return "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents).encode()


def imported(institutions: Institutions, content: bytes) -> int:
    count = institutions.registry.import_people(documents_in(io.BytesIO(content)))
    institutions.settle()
    return count


def test_json_lines_are_imported(institutions: Institutions) -> None:
    places = ["47201", "13113", TSUKUBA, "13113"]
    documents = [{**LINE, "alias": f"p{place}", "municipality": code} for place, code in enumerate(places)]
    assert imported(institutions, lines(documents) + b"\n  \n") == 4
    assert {resident.alias: resident.municipality.code for resident in institutions.registry.residents()} == {
        f"p{place}": code for place, code in enumerate(places)
    }
    for resident in institutions.registry.residents():
        assert resident.individual_number is not None
        assert institutions.juki_net.j_lis.identity(resident.code).name == Name("模擬", "一郎")
    assert len({resident.code for resident in institutions.registry.residents()}) == 4


def test_csv_is_imported(institutions: Institutions) -> None:
    header = ",".join(LINE) + ",nationality,residence_status,stay_end"
    rows = [
        ",".join(LINE.values()) + ",,,",
        'b,"Ｅ，Ｘ",,1990-00-00,9,08220,"見本台,１",GB,student,2030-01-01',
    ]
    content = "\r\n".join(("\ufeff" + header, *rows, "")).encode()
    assert imported(institutions, content) == 2
    resident = institutions.registry.find("b")
    assert (resident.street, resident.nationality, resident.stay_end) == ("見本台,１", "GB", date(2030, 1, 1))
    assert str(resident.birth) == "19900000"


BAD_LINES: list[tuple[object, str]] = [
    ({**LINE, "alias": "b", "birth": ""}, "line 2: birth is missing"),
    ({**LINE, "alias": "b", "birth": "1990-13-01"}, "line 2: "),
    ({**LINE, "alias": "b", "birth": "2027-01-01"}, "line 2: the date of birth"),
    ({**LINE, "alias": "b", "sex": "3"}, "line 2: "),
    ({**LINE, "alias": "b", "municipality": "99999"}, "line 2: no municipality"),
    ({**LINE, "alias": "b", "colour": "red"}, "line 2: unknown keys: colour"),
    ({**LINE, "alias": "b", "street": 5}, "line 2: street must be text"),
    ({**LINE, "alias": "b", "stay_end": "x"}, "line 2: "),
    ({**LINE, "alias": "b", "stay_end": 5}, "line 2: "),
    ({**LINE, "alias": "b", "record_code": "12345678903"}, "line 2: a new resident must not have a record code"),
    ({**LINE, "alias": "b", "residences": [1]}, "line 2: "),
    ({**LINE, "alias": "a"}, "alias"),
    ({**LINE, "alias": "there"}, "the alias 'there' is already taken"),
    ([LINE], "line 2"),
    (5, "line 2"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_LINES)
def test_one_bad_line_registers_nobody(quiet: Institutions, bad: object, message: str) -> None:
    if "there" not in {resident.alias for resident in quiet.registry.residents()}:
        quiet.registry.add(replace(HANAKO, alias="there"))
        quiet.settle()
    before = quiet.registry.count()
    with pytest.raises(ImportRejected, match=message) as refused:
        imported(quiet, lines([LINE, bad, {**LINE, "alias": "c"}]))
    assert "nothing was registered" in str(refused.value)
    assert quiet.registry.count() == before
    assert quiet.juki_net.next_due() is None


@pytest.mark.parametrize(
    "content",
    [b'{"alias": "a"', lines([LINE]) + b"{", b"\xff\xfe\x00", lines([LINE])[:-4] + b"\xff\n",
     ",".join(LINE).encode() + b"\na,b,c,1990-01-01,1,13113,d,e\n", b'a,b\n"x'],
)  # fmt: skip
def test_a_file_that_is_neither_json_lines_nor_csv_registers_nobody(town: Institutions, content: bytes) -> None:
    with pytest.raises(ImportRejected, match="nothing was registered"):
        imported(town, content)
    assert town.registry.count() == 0


def test_a_duplicate_alias_registers_nobody_on_either_storage(institutions: Institutions) -> None:
    with pytest.raises(ImportRejected, match="two residents have the same alias"):
        imported(institutions, lines([LINE, LINE]))
    assert institutions.registry.count() == 0
    assert imported(institutions, lines([LINE, {**LINE, "alias": "b"}])) == 2
    with pytest.raises(ImportRejected, match="'b' is already taken"):
        imported(institutions, lines([{**LINE, "alias": "c"}, {**LINE, "alias": "b"}]))
    assert institutions.registry.count() == 2
