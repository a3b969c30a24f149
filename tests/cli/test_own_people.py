"""Residents with data of the user's own: registered, given a card with their photo, and drawn. The judge is
poppler, which decodes the photo; tests/tools/test_console.py shows the face in Chromium."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from zlib import crc32

import pytest
from PIL import Image

from kazashi.applets import card_surface
from kazashi.applets.install import load_card
from kazashi.applets.photo import photo
from kazashi.card.chip import Chip
from kazashi.card.request import read_binary, select, verify
from kazashi.card.tlv import parse
from tests.cli.program import Program
from tests.polling import LIMIT

CORNERS = {"red": (200, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 200), "yellow": (220, 220, 30)}
PERSON = ("--family", "模擬", "--given", "私", "--birth", "1990-01-31", "--sex", "1", "--municipality", "28209",
          "--street", "架空町１－２－３")  # fmt: skip


def corners(width: int, height: int) -> Image.Image:
    """A picture of four colours: red and green above blue and yellow."""
    picture = Image.new("RGB", (2, 2))
    picture.putdata(list(CORNERS.values()))
    return picture.resize((width, height), Image.Resampling.NEAREST)


def stored(picture: Image.Image, form: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def with_poppler(picture: bytes, directory: Path) -> Image.Image:
    """Decode a JPEG 2000 picture of the card's size with poppler, as the only thing on a page."""
    width, height = 192, 240
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents 4 0 R/Resources<</XObject<</I 5 0 R>>>>>>"
        % (width, height),
        b"<</Length 29>>stream\n%3d 0 0 %3d 0 0 cm /I Do      \nendstream" % (width, height),
        b"<</Type/XObject/Subtype/Image/Width %d/Height %d/Filter/JPXDecode/Length %d>>stream\n%s\nendstream"
        % (width, height, len(picture), picture),
    ]
    document = directory / "page.pdf"
    with document.open("wb") as file:
        file.write(b"%PDF-1.5\n")
        for number, item in enumerate(objects, start=1):
            file.write(b"%d 0 obj\n%s\nendobj\n" % (number, item))
        file.write(b"trailer<</Root 1 0 R/Size 6>>\n%%EOF\n")
    subprocess.run(["pdftoppm", "-r", "72", "-png", "-singlefile", str(document), str(directory / "page")], check=True,
                   timeout=LIMIT, capture_output=True)  # fmt: skip
    return Image.open(directory / "page.png").convert("RGB")


def photograph(program: Program, name: str) -> bytes:
    """Read the photograph as a terminal does: with the holder's number as the PIN, in pieces of 256 bytes."""
    chip = Chip(load_card(program.world / "cards" / f"{name}.card"))
    chip.power_on()
    number = program.json("card", "show", name)["individual number"]
    for command in (select(card_surface.AID), verify(card_surface.NUMBER_A, number.encode())):
        assert chip.transmit(command) == b"\x90\x00"
    content = read = chip.transmit(read_binary(0, 256, file=card_surface.FACE))[:-2]
    while len(read) == 256:
        read = chip.transmit(read_binary(len(content), 256))[:-2]
        content += read
    return parse(content)[0].child(0xDF27).value


def near(colour: object, name: str) -> bool:
    assert isinstance(colour, tuple)
    return all(abs(a - b) < 40 for a, b in zip(colour, CORNERS[name], strict=True))


@pytest.fixture(scope="module")
def mine(town: Program, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The town with a person of the user's own, whose photo is wider than the card's."""
    file = tmp_path_factory.mktemp("photo") / "me.png"
    file.write_bytes(stored(corners(1200, 800), "PNG"))
    town.run("registry", "add", "mine", *PERSON)
    town.run("card", "new", "mine", "--photo", str(file), "--pin", "9876", "--password", "MYPASS99")
    return town


def test_the_card_has_the_users_data_pin_and_photo(mine: Program, tmp_path: Path) -> None:
    shown = mine.json("card", "show", "mine")
    assert (shown["name"], shown["authentication PIN"], shown["signature password"]) == ("模擬　私", "9876", "MYPASS99")
    held = photograph(mine, "mine")
    (tmp_path / "photo").write_bytes(held)
    kind = subprocess.run(["file", "--brief", "--mime-type", str(tmp_path / "photo")], capture_output=True, text=True,
                          check=True, timeout=LIMIT).stdout  # fmt: skip
    assert kind.strip() == "image/jp2"
    picture = with_poppler(held, tmp_path)
    assert picture.size == (192, 240)
    for place, name in zip(((48, 60), (144, 60), (48, 180), (144, 180)), CORNERS, strict=True):
        assert near(picture.getpixel(place), name), name


@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("JPEG2000", {}), ("PNG", {})],
)
def test_photos_of_every_format(tmp_path: Path, form: str, options: dict[str, object]) -> None:
    picture = with_poppler(photo(stored(corners(400, 500), form, **options)), tmp_path)
    assert near(picture.getpixel((48, 60)), "red")
    assert near(picture.getpixel((144, 180)), "yellow")


def test_a_photo_is_upright_and_transparent_parts_are_white(tmp_path: Path) -> None:
    """Phones store pictures as the sensor has them, and say in EXIF how to turn them (orientation 6: to the right)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = with_poppler(photo(stored(corners(500, 400), "JPEG", quality=95, exif=exif)), tmp_path)
    assert near(picture.getpixel((48, 60)), "blue")
    assert near(picture.getpixel((144, 60)), "red")
    clear = photo(stored(Image.new("RGBA", (200, 250), (0, 0, 0, 0)), "PNG"))
    assert with_poppler(clear, tmp_path).getpixel((96, 120)) == (255, 255, 255)


def test_a_file_that_is_no_photo_is_refused_in_one_line(town: Program, tmp_path: Path) -> None:
    whole = stored(corners(400, 500).convert("RGB"), "PNG")
    noise = stored(Image.effect_noise((400, 500), 80), "JPEG")
    bad = {
        "text": b"x", "empty": b"", "cut": noise[: len(noise) // 2], "cut PNG": whole[:-30],
        "gif": stored(corners(400, 500), "GIF"), "small": stored(corners(191, 400), "PNG"),
        "long": stored(Image.new("1", (20_000, 2_600)), "PNG"),
        "huge": whole[:16] + (40_000).to_bytes(4) * 2 + whole[24:29] + crc32(whole[12:16] + (40_000).to_bytes(4) * 2
                                                                            + whole[24:29]).to_bytes(4) + whole[33:],
    }  # fmt: skip
    for name, content in bad.items():
        (tmp_path / "photo").write_bytes(content)
        error = town.error("bad-photo", 2, "card", "new", "taro", "--name", "bad", "--photo", str(tmp_path / "photo"))
        assert ("the most is 50 million" if name in ("long", "huge") else "photo") in error, name
    (tmp_path / "photo").write_bytes(whole + bytes(10 << 20))
    large = town.error("file-unusable", 2, "card", "new", "taro", "--name", "bad", "--photo", str(tmp_path / "photo"))
    assert "photo has more than 10 MB" in large
    assert "bad" not in [row["card"] for row in town.json("card", "list")]


def test_face_is_drawn_front_and_back(mine: Program, tmp_path: Path) -> None:
    mine.run("card", "face", "mine", "--out", str(tmp_path / "face.png"))
    with Image.open(tmp_path / "face.png") as face:
        assert face.size == (1011, 2 * 638 + 24)
        assert "emulator" in face.info["Comment"]
        for place, name in (((715, 100), "red"), ((965, 418), "yellow")):
            assert near(face.convert("RGB").getpixel(place), name), "the corners are outside of the mark"
    for side in ("front", "back"):
        mine.run("card", "face", "mine", "--side", side, "--out", str(tmp_path / f"{side}.png"))
    with Image.open(tmp_path / "front.png") as front, Image.open(tmp_path / "back.png") as back:
        assert front.size == back.size == (1011, 638)
        assert not near(back.convert("RGB").getpixel((715, 100)), "red")
    mine.error("card-missing", 2, "card", "face", "nobody", "--out", str(tmp_path / "none.png"))
    mine.error("usage", 2, "card", "face", ".", "--out", str(tmp_path / "none.png"))
    assert not (tmp_path / "none.png").exists()


def test_a_face_without_photo_has_a_drawn_head_and_the_same_face_each_time(town: Program, tmp_path: Path) -> None:
    for name in ("one", "two"):
        town.run("card", "face", "hanako", "--out", str(tmp_path / name))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
