from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kazashi.applets.install import load_card
from kazashi.card.contents import ApplicationContents
from kazashi.card.identifiers import Aid, FileId
from kazashi.card.image import DamagedImage, ImageExists, ImageMissing, ImageStore, read_image, write_image
from kazashi.card.pin import PinState
from kazashi.card.store import Reference, StoreFailure

pytestmark = pytest.mark.unit

CONTENTS = {
    Aid("A0000001510000"): ApplicationContents(objects={0x42: b"issuer"}),
    Aid("D392F000260100000001"): ApplicationContents(
        data={FileId(1): b"\x30\x82" * 9, FileId(2): b""},
        records={FileId(3): (b"one", b"two")},
        keys={FileId(4): b"key"},
        pins={FileId(5): PinState(b"1234", 3, 2)},
    ),
}
REFERENCE = Reference(Aid("D392F000260100000001"), FileId(5))


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.card"
    write_image(path, CONTENTS, {"name": "番号　花子"})
    assert read_image(path) == (CONTENTS, {"name": "番号　花子"})
    assert list(read_image(path)[0]) == list(CONTENTS), "in the order in which partial names are matched"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.card"]


def test_an_image_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.card"
    path.write_bytes(b"something dear")
    with pytest.raises(ImageExists):
        write_image(path, CONTENTS, {})
    assert path.read_bytes() == b"something dear"


def test_damage_anywhere_is_noticed_or_harmless(image: Path, tmp_path: Path) -> None:
    """A byte flipped in any page never gives a card that differs from the one that was written."""
    whole = image.read_bytes()
    intact = read_image(image)
    noticed = 0
    places = list(range(0, len(whole), len(whole) // 150))
    for place in places:
        damaged = tmp_path / f"{place}.card"
        damaged.write_bytes(whole[:place] + bytes((whole[place] ^ 0x55,)) + whole[place + 1 :])
        before = damaged.read_bytes()
        try:
            contents, about = read_image(damaged)
        except DamagedImage:
            noticed += 1
        else:
            for aid, application in contents.items():
                application.pins = intact[0][aid].pins  # the PINs change in use, and are not under the digest
            assert (contents, about) == intact
        assert damaged.read_bytes() == before, "nothing is overwritten"
        damaged.unlink()
    assert noticed > len(places) / 4, "the rest fell on free space"


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(100)])
def test_a_foreign_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.card"
    path.write_bytes(content)
    with pytest.raises(DamagedImage, match=r"a\.card"):
        load_card(path)
    assert path.read_bytes() == content


def test_a_truncated_image(image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-5000])
    with pytest.raises(DamagedImage):
        load_card(image)


def test_an_image_of_another_card(tmp_path: Path) -> None:
    path = tmp_path / "a.card"
    write_image(path, CONTENTS, {})
    with pytest.raises(DamagedImage):
        load_card(path)


def test_a_missing_image(tmp_path: Path) -> None:
    with pytest.raises(ImageMissing):
        load_card(tmp_path / "none.card")
    assert not list(tmp_path.iterdir())


def test_a_store_whose_image_has_gone(image: Path) -> None:
    store = ImageStore(image)
    shutil.move(image, image.with_suffix(".gone"))
    with pytest.raises(StoreFailure):
        store.spend_try(REFERENCE)
    assert not image.exists(), "no empty card is brought into being"


def test_a_pin_that_the_card_does_not_have(image: Path) -> None:
    with pytest.raises(KeyError):
        ImageStore(image).pin(Reference(Aid("A0"), FileId(1)))
