"""Applications in the free area: definitions, ordinances, and loading that survives a kill, by commands."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from kazashi.applets import input_support, jpki
from kazashi.applets.free_area import DOCUMENTS, BadDefinition, Definition, text_name
from kazashi.applets.install import load_card
from kazashi.assembly.institutions import Institutions
from kazashi.card import request
from kazashi.card.chip import Chip
from kazashi.card.identifiers import Aid
from kazashi.card.image import DamagedImage, ImageStore, add_application, read_image, remove_application
from kazashi.world.home import open_world
from kazashi.world.key_source import SharedKeySource
from tests.cli.program import InProcessProgram, Program, new_world
from tests.crash import killed_before_statement

PAGE = (Path(__file__).parents[2] / "docs" / "free-area.md").read_text(encoding="utf-8")
PARKING = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
LIBRARY = Definition.parse(DOCUMENTS["library"])
RESIDENTS = Definition.parse(DOCUMENTS["residents-card"])
FILLED = {"card-number": "77", "seal-registration": "113-2046"}
DONE = b"\x90\x00"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, keys: SharedKeySource) -> Path:
    """A world in which hanako, of the municipality 13113, has a card."""
    program = new_world(tmp_path_factory.mktemp("free") / "w")
    with closing(open_world(program.world, keys=keys)) as world:
        Institutions(world).issue_card("hanako", "hanako")
    return program.world


@pytest.fixture
def program(made: Path, tmp_path: Path) -> Program:
    """The program with a copy of that world."""
    shutil.copytree(made, tmp_path / "w")
    return InProcessProgram(tmp_path / "w")


def chip_of(image: Path) -> Chip:
    chip = Chip(load_card(image))
    chip.power_on()
    return chip


def card_of(program: Program) -> Path:
    return program.world / "cards" / "hanako.card"


def test_an_application_needs_an_ordinance_that_is_in_force(program: Program) -> None:
    load = ("card", "application", "add", "hanako", "library", "--set", "member-number=20260042")
    before = card_of(program).read_bytes()
    assert "渋谷区 (13113)" in program.error("not-by-ordinance", 1, *load)
    program.run("card", "ordinance", "add", "13113", "library", "--from", "2026-12-01")
    program.run("card", "ordinance", "add", "13112", "library", "--from", "2026-04-01")
    program.error("not-by-ordinance", 1, *load)
    assert card_of(program).read_bytes() == before
    program.run("clock", "advance", "7d")
    assert program.json(*load)["aid"] == "F04B415A4153484901"
    assert [row["loaded"] for row in program.json("card", "application", "list", "hanako")] == ["2026-12-01"]
    program.error("application-exists", 2, *load)
    program.run("card", "ordinance", "repeal", "13113", "library")
    program.run("card", "application", "remove", "hanako", "library")
    program.error("not-by-ordinance", 1, *load)
    assert program.json("card", "application", "list", "hanako") == []
    program.error("no-such-application", 2, "card", "application", "remove", "hanako", "library")


def test_an_ordinance_has_one_beginning_and_one_end(program: Program) -> None:
    program.error("ordinance-refused", 1, "card", "ordinance", "add", "13113", "library", "--from", "2015-12-31")
    program.run("card", "ordinance", "add", "13113", "library", "--from", "2016-01-01")
    program.error("ordinance-refused", 1, "card", "ordinance", "add", "13113", "library")
    program.error("ordinance-refused", 1, "card", "ordinance", "repeal", "13113", "library", "--on", "2015-12-31")
    program.run("card", "ordinance", "repeal", "13113", "library", "--on", "2020-04-01")
    program.error("ordinance-refused", 1, "card", "ordinance", "repeal", "13113", "library")
    program.error("ordinance-refused", 1, "card", "ordinance", "add", "13113", "library", "--from", "2020-03-31")
    program.run("card", "ordinance", "add", "13113", "library", "--from", "2020-04-01")
    assert [(row["in_force"], row["repealed"]) for row in program.json("card", "ordinance", "list")] == [
        ("2016-01-01", "2020-04-01"), ("2020-04-01", None)
    ]  # fmt: skip
    program.error("usage", 2, "card", "ordinance", "add", "99999", "library")


def test_a_lost_card_gets_no_application(program: Program) -> None:
    program.run("card", "ordinance", "add", "13113", "library")
    program.run("registry", "event", "loss-report", "hanako")
    program.error("card-not-in-use", 1, "card", "application", "add", "hanako", "library", "--set", "member-number=1")


def test_an_integrator_s_application_behaves_as_the_documentation_says(program: Program, tmp_path: Path) -> None:
    assert PARKING is not None
    definition = tmp_path / "parking.toml"
    definition.write_text(PARKING[1], encoding="utf-8")
    document = program.json("card", "application", "show", str(definition))
    program.run("card", "ordinance", "add", "13113", "parking")
    arguments = ("--set", "place=A-17", "--set", "contract=2026-0815")
    program.error("bad-application", 2, "card", "application", "add", "hanako", str(definition), *arguments)
    program.run("card", "application", "add", "hanako", str(definition), *arguments, "--pin", "246810")
    definition.unlink()
    chip = chip_of(card_of(program))
    assert chip.transmit(request.select(Aid(document["aid"]))) == DONE
    assert chip.transmit(bytes.fromhex("00B0810010")) == b"A-17".ljust(16, b"\xff") + DONE
    assert chip.transmit(bytes.fromhex("00B0820018")) == b"\x69\x82"
    assert chip.transmit(bytes.fromhex("0020009106") + b"246811") == b"\x63\xc4"
    assert program.json("card", "show", "hanako")["tries left"]["parking PIN"] == "4 of 5"
    assert chip.transmit(bytes.fromhex("0020009106") + b"246810") == DONE
    assert chip.transmit(bytes.fromhex("00B0820018")) == b"2026-0815".ljust(24, b"\xff") + DONE
    assert chip.transmit(request.change_reference_data(0x11, b"135790")) == DONE
    chip.power_off()
    again = chip_of(card_of(program))
    again.transmit(request.select(Aid(document["aid"])))
    assert again.transmit(bytes.fromhex("0020009106") + b"246810") == b"\x63\xc4"


def test_a_renewal_leaves_the_free_area_alone(program: Program) -> None:
    program.run("card", "ordinance", "add", "13113", "library")
    program.run("card", "application", "add", "hanako", "library", "--set", "member-number=20260042")
    program.run("registry", "event", "move-within", "hanako", "--street", "架空町9")
    program.run("card", "renew", "hanako")
    chip = chip_of(card_of(program))
    chip.transmit(request.select(LIBRARY.application_id))
    assert chip.transmit(bytes.fromhex("00B0810008")) == b"20260042" + DONE


GOOD = RESIDENTS.as_document()
FILE = GOOD["file"][0]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"aid": "D3921000310001010408"}, "begin with F"), ({"aid": "F04B"}, "5 to 16 bytes"), ({"aid": 1}, "5 to 16"),
        ({"name": "Library"}, "a-z"), ({"name": ""}, "a-z"), ({"title": "a\nb"}, "title"), ({"title": " "}, "title"),
        ({"file": []}, "1 to 16"), ({"file": [{**FILE, "id": f"00{n:02X}"} for n in range(1, 18)]}, "1 to 16"),
        ({"file": [FILE, {**FILE, "name": "other"}]}, "identifier 0001"),
        ({"file": [FILE, {**FILE, "id": "0002"}]}, "name card-number"),
        ({"file": [{**FILE, "id": "0011"}]}, "identifier 0011"), ({"file": [{**FILE, "id": "001F"}]}, "0001 to 001E"),
        ({"file": [{**FILE, "id": "0000"}]}, "0001 to 001E"), ({"file": [{**FILE, "read": "all"}]}, "`free` or `pin`"),
        ({"file": [{**FILE, "size": 2049}]}, "1 to 2048"), ({"file": [{**FILE, "size": True}]}, "1 to 2048"),
        ({"file": [{**FILE, "rule": "free"}]}, "`rule`"), ({"colour": "red"}, "`colour`"),
        ({"pin": {"id": "0011", "digits": 3, "tries": 3}}, "4 to 12"),
        ({"pin": {"id": "0011", "digits": 4}}, "`tries`"),
        ({"pin": None, "file": [{**FILE, "read": "pin"}]}, "no table `pin`"),
    ],
)  # fmt: skip
def test_a_wrong_definition_is_refused_with_the_field(change: dict[str, object], words: str) -> None:
    with pytest.raises(BadDefinition, match=re.escape(words)):
        Definition.parse(json.dumps({**GOOD, **change}))


@pytest.mark.unit
@pytest.mark.parametrize("text", ["", "name = ", "[1, 2]", "{", "[" * 5000, '{"name": "a"}'])
def test_what_is_not_a_definition_is_refused(text: str) -> None:
    with pytest.raises(BadDefinition):
        Definition.parse(text)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("values", "pin"),
    [
        ({**FILLED, "other": "1"}, "4321"), ({"card-number": "77"}, "4321"), ({**FILLED, "card-number": ""}, "4321"),
        ({**FILLED, "card-number": "x" * 33}, "4321"), ({**FILLED, "card-number": "市" * 11}, "4321"),
        ({**FILLED, "card-number": "a\tb"}, "4321"), (FILLED, None), (FILLED, "432"), (FILLED, "abcd"), (FILLED, ""),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_the_definition_are_refused(values: dict[str, str], pin: str | None) -> None:
    with pytest.raises(BadDefinition):
        RESIDENTS.contents(values, pin)


@pytest.mark.unit
def test_definitions_survive_the_way_into_an_image_and_back() -> None:
    for document in DOCUMENTS.values():
        definition = Definition.parse(document)
        assert Definition.parse(json.dumps(definition.as_document())) == definition


@pytest.mark.unit
def test_an_image_with_a_broken_definition_is_damaged(image: Path) -> None:
    aid = LIBRARY.application_id
    add_application(image, aid, LIBRARY.contents({"member-number": "1"}), {text_name(aid): '{"definition": 1}'})
    with pytest.raises(DamagedImage, match="definition"):
        load_card(image)


@pytest.mark.crash
def test_a_kill_leaves_an_application_whole_or_absent_and_other_pins_as_they_were(image: Path, tmp_path: Path) -> None:
    chip = chip_of(image)
    chip.transmit(request.select(input_support.AID))
    assert chip.transmit(request.verify(input_support.PIN, b"0000")) == b"\x63\xc2"
    chip.power_off()
    assert isinstance(chip.card.store, ImageStore)
    chip.card.store.close()
    aid = RESIDENTS.application_id
    contents, text = RESIDENTS.contents(FILLED, "4321"), {text_name(aid): json.dumps({"definition": GOOD})}
    for load in (True, False):
        change = partial(
            add_application if load else remove_application, aid=aid,
            **({"contents": contents, "about": text} if load else {"about": list(text)}),
        )  # fmt: skip
        seen = []
        for number in range(1, 100):
            copy = Path(shutil.copy(image, tmp_path / f"{load}{number}.card"))
            killed = killed_before_statement(number, partial(change, copy))
            written, about = read_image(copy)  # checks the digest
            assert (aid in written) == (text_name(aid) in about)
            assert aid not in written or written[aid] == contents
            assert written[input_support.AID].pins[input_support.PIN].tries_left == 2
            assert written[jpki.AID] == read_image(image)[0][jpki.AID]
            seen.append(aid in written)
            if not killed:
                break
        assert seen == [not load] * (len(seen) - 1) + [load]
        assert len(seen) > 8, "killed between the statements of the transaction"
        change(image)
