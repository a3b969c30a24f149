"""Files between bodies as values, name matching, and a file that is received while the process is killed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kazashi.provision_network.matching import Attributes
from kazashi.provision_network.name_matching import Found, Roll, right
from kazashi.provision_network.tax_offices import TaxOffices
from kazashi.provision_network.tax_returns import TaxReturn, file_of, made_up_return, returns_in
from kazashi.provision_network.transfer_files import FileHeader, FileRejected, parsed_file, written
from kazashi.resident_registry.number import IndividualNumber
from kazashi.world.clock import FixedClock
from kazashi.world.home import open_world
from kazashi.world.settings import Settings
from tests.crash import left_at_each_moment

BODY, NOW = "東京都渋谷区", datetime(2018, 4, 2, 3, tzinfo=UTC)
TRUE = Attributes("髙橋　静", "タカハシ シズカ", "19880417", "2", "東京都渋谷区架空町９丁目９９番地の９号")
TWIN = Attributes("髙橋　葵", "タカハシ アオイ", "19880417", "2", "東京都渋谷区架空町９丁目９９番地の９号")
OTHER = Attributes("斎藤　蓮", "サイトウ レン", "19900101", "1", "東京都渋谷区架空町１丁目１番１号")
NUMBERS = [str(IndividualNumber.around(f"{place:011}")) for place in range(1, 60)]
FILE_TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)


@pytest.mark.unit
@given(st.lists(st.lists(FILE_TEXT, max_size=4), max_size=5), FILE_TEXT)
def test_a_file_is_read_as_it_was_written_and_any_lost_byte_is_noticed(records: list[list[str]], sender: str) -> None:
    records = [[field.replace("\r", "").replace("\n", "").replace("\0", "") for field in record] for record in records]
    header = FileHeader("kind", sender.replace("\r", "").replace("\n", "").replace("\0", ""), "to", "2025")
    content = written(header, records)
    file = parsed_file(content)
    assert (file.header, file.records) == (header, records)
    for place in (0, len(content) // 3, len(content) - 3, len(content) - 1):
        with pytest.raises(FileRejected):
            parsed_file(content[:place] + content[place + 1 :])


@pytest.mark.unit
@pytest.mark.parametrize(("change", "denial"), [
    (lambda content: content[:-1], "truncated"), (lambda content: content[: content.rindex(b"T,")], "truncated"),
    (lambda content: content.replace(b"T,2", b"T,3"), "wrong-count"),
    (lambda content: content.replace(b",2,", b",3,", 1), "wrong-count"),
    (lambda content: content.replace(b"R,2,b\n", b"R,2,c\n"), "wrong-checksum"),
    (lambda content: content.replace(b"R,1,a\nR,2,b\n", b"R,2,b\nR,1,a\n"), "wrong-checksum"),
    (lambda content: content.replace(b",1,", b",2,", 1), "bad-file"), (lambda _: b"", "bad-file"),
    (lambda content: content.replace(b"R", b"\xff", 1), "wrong-checksum"),
])  # fmt: skip
def test_each_fault_of_a_file_has_its_name(change: object, denial: str) -> None:
    content = written(FileHeader("kind", "from", "to", "2025"), [["a"], ["b"]])
    with pytest.raises(FileRejected) as rejected:
        parsed_file(change(content))  # type: ignore[operator]
    assert rejected.value.denial == denial


@pytest.mark.unit
@pytest.mark.parametrize(("fields", "words"), [
    (["r", "", "n", "k", "b", "1", "a"], "7 fields"), (["r", "", "n", "k", "b", "1", "a", "1.5"], "not a number"),
    (["r", "123456789012", "n", "k", "b", "1", "a", "1"], "check digit"),
    (["", "", "n", "k", "b", "1", "a", "1"], "no number of its own"),
])  # fmt: skip
def test_a_malformed_return_refuses_the_file(fields: list[str], words: str) -> None:
    with pytest.raises(FileRejected, match=words) as rejected:
        returns_in(parsed_file(written(FileHeader("tax-returns", "国税庁", BODY, "2025"), [fields])))
    assert rejected.value.denial == "bad-record"


@pytest.mark.unit
def test_a_record_finds_its_person_in_another_notation() -> None:
    roll = Roll({"1": TRUE, "2": TWIN, "3": OTHER}, dict(zip(NUMBERS, "123", strict=False)))
    for name, address in (("高橋 静", "東京都渋谷区架空町9-99-9"), ("髙橋　静", "東京都渋谷区架空町９－９９－９"),
                          ("高橋静", "架空県元の市1丁目2番")):  # fmt: skip
        found = roll.by_attributes(Attributes(name, TRUE.kana, TRUE.birth, TRUE.sex, address))
        assert (found.person, found.how) == ("1", Found.ATTRIBUTES), "a twin at the same address is another person"
    mistaken = Attributes(TRUE.name, TRUE.kana, "19880418", TRUE.sex, TRUE.address)
    assert roll.by_attributes(mistaken).person == "1"
    assert roll.by_attributes(Attributes("別　人", "ベツ ジン", "19880417", "2", TRUE.address)).how is Found.NOBODY


@pytest.mark.unit
def test_a_number_of_somebody_else_or_of_nobody_goes_to_the_work_list() -> None:
    roll = Roll({"1": TRUE, "3": OTHER, "4": TRUE}, {NUMBERS[0]: "1", NUMBERS[1]: "3"})
    assert roll.match(NUMBERS[0], TRUE).how is Found.NUMBER
    assert roll.match(NUMBERS[1], TRUE) == roll.by_number(NUMBERS[1], TRUE)
    assert roll.match(NUMBERS[1], TRUE).how is Found.OTHER_PERSON
    assert roll.match(NUMBERS[2], TRUE).how is Found.UNKNOWN_NUMBER
    assert (roll.match("", TRUE).how, roll.match("", TRUE).candidates) == (Found.SEVERAL, 2)
    assert right([("1", "1"), ("2", "1"), (None, "3"), ("4", None)]) == (1, 3, 3)


@pytest.mark.crash
def test_a_kill_at_any_moment_of_receiving_a_file_leaves_nothing_half_done(tmp_path: Path) -> None:
    chance, home = Random("returns"), tmp_path / "w"
    world = open_world(home, settings=Settings("taxes"), clock=FixedClock(NOW))
    people = {f"{place:09}": Attributes(f"架空　{place}", f"カクウ {place}", f"19{place:02}0101", "1", f"架空町{place}")
              for place in range(20)}  # fmt: skip
    numbers = dict(zip(NUMBERS, people, strict=False))
    returns: list[TaxReturn] = [
        made_up_return(f"r{own}", number, people[own], NUMBERS[40], chance) for number, own in numbers.items()
    ]
    content = file_of(BODY, 2017, returns)
    TaxOffices(world).enrol(BODY, people)
    world.close()

    def receive(directory: Path, content: bytes) -> str:
        world = open_world(directory, clock=FixedClock(NOW))
        try:
            TaxOffices(world).receive(BODY, content, numbers)
        except FileRejected as rejected:
            return rejected.denial
        finally:
            world.close()
        return ""

    def action() -> None:
        assert receive(home, content[:-1]) == "truncated"
        assert receive(home, content) == ""

    moments, again = 0, set[str]()
    for left in left_at_each_moment(home, action):
        moments += 1
        world = open_world(left, clock=FixedClock(NOW))
        offices = TaxOffices(world)
        taken = [one for one in offices.files(BODY) if not one.denial]
        assert len(offices.records(BODY)) == len(taken) * len(returns), "all or nothing"
        world.close()
        again.add(receive(left, content))
        world = open_world(left, clock=FixedClock(NOW))
        assert len(TaxOffices(world).records(BODY)) == len(returns)
        world.close()
    assert moments > 3
    assert again == {"", "sent-twice"}
