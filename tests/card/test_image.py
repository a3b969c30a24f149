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


def test_written_image_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.card"
    write_image(path, CONTENTS, {"name": "番号　花子"})
    assert read_image(path) == (CONTENTS, {"name": "番号　花子"})
    assert list(read_image(path)[0]) == list(CONTENTS), "in the order in which a partial AID is matched"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.card"]


def test_an_image_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "a.card"
    path.write_bytes(b"other data")
    with pytest.raises(ImageExists):
        write_image(path, CONTENTS, {})
    assert path.read_bytes() == b"other data"


def test_damage_is_detected_or_harmless(image: Path, tmp_path: Path) -> None:
    """Flip one byte in any page: an image that still loads has the original contents."""
    whole = image.read_bytes()
    intact = read_image(image)
    detected = 0
    offsets = list(range(0, len(whole), len(whole) // 150))
    for offset in offsets:
        damaged = tmp_path / f"{offset}.card"
        damaged.write_bytes(whole[:offset] + bytes((whole[offset] ^ 0x55,)) + whole[offset + 1 :])
        before = damaged.read_bytes()
        try:
            contents, about = read_image(damaged)
        except DamagedImage:
            detected += 1
        else:
            for aid, application in contents.items():
                application.pins = intact[0][aid].pins  # the PINs change in use, and the digest does not cover them
            assert (contents, about) == intact
        assert damaged.read_bytes() == before, "the image must not be changed"
        damaged.unlink()
    assert detected > len(offsets) / 4, "the other bytes are in unused space"


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(100)])
def test_other_file_is_rejected_and_not_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.card"
    path.write_bytes(content)
    with pytest.raises(DamagedImage, match=r"a\.card"):
        load_card(path)
    assert path.read_bytes() == content


def test_truncated_image_is_rejected(image: Path) -> None:
    image.write_bytes(image.read_bytes()[:-5000])
    with pytest.raises(DamagedImage):
        load_card(image)


def test_image_of_another_kind_of_card_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.card"
    write_image(path, CONTENTS, {})
    with pytest.raises(DamagedImage):
        load_card(path)


def test_missing_image_is_reported_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(ImageMissing):
        load_card(tmp_path / "none.card")
    assert not list(tmp_path.iterdir())


def test_store_fails_if_its_image_is_gone(image: Path) -> None:
    store = ImageStore(image)
    shutil.move(image, image.with_suffix(".gone"))
    with pytest.raises(StoreFailure):
        store.spend_try(REFERENCE)
    assert not image.exists(), "no empty card is created"


def test_unknown_pin_raises_key_error(image: Path) -> None:
    with pytest.raises(KeyError):
        ImageStore(image).pin(Reference(Aid("A0"), FileId(1)))
