"""The face of a card as a picture, front and back: what its visual application holds, marked as a sample.

The layout is our own, and says less than a real card's. Each side has the size of a card (ISO/IEC 7810, ID-1) in 300
dots per inch.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from io import BytesIO

from PIL import Image, ImageDraw, ImageOps
from PIL.PngImagePlugin import PngInfo

from kazashi.applets import card_surface, next_card
from kazashi.applets.pictures import font
from kazashi.card.contents import CardContents
from kazashi.card.identifiers import FileId
from kazashi.card.tlv import Tlv, parse

SIZE = (1011, 638)
"""Width and height of one side, in pixels: 85.60 x 53.98 mm."""
_DPI = 300
_GAP, _MARGIN = 24, 36
_PAPER, _INK, _LABEL, _RED = (247, 245, 240), (20, 20, 24), (110, 104, 96), (176, 30, 50)
_SEXES = {"1": "男", "2": "女"}
MARK = "見本 SAMPLE"
NOTICE = "KAZASHI: EMULATED CARD, NOT VALID ANYWHERE ・ 模擬カード(無効)"


_READING, _LATIN_NAME = 0xDF2B, 0xDF2C


class Side(Enum):
    """A side of a card."""

    FRONT = "front"
    BACK = "back"


class NoFace(Exception):
    """A device has no visual application, so that it has no face."""


def card_face(contents: CardContents, sides: Sequence[Side] = tuple(Side)) -> bytes:
    """Return the sides of a card, one below the other, as a PNG.

    Raises NoFace, FontMissing, and ValueError or KeyError for contents that personalisation did not write.
    """
    written = contents.get(card_surface.AID)
    if written is None:
        raise NoFace("this device has no visual application, and so no face")
    face = _objects(written.data[card_surface.FACE])
    number = _objects(written.data[card_surface.INDIVIDUAL_NUMBER])
    printed = written.pins.get(FileId(next_card.REFERENCE_NUMBER))
    front = _front(face) if printed is None else _next_front(face, printed.value.decode("ascii"))
    drawn = [front if side is Side.FRONT else _back(face, number) for side in sides]
    picture = Image.new("RGB", (SIZE[0], len(drawn) * (SIZE[1] + _GAP) - _GAP), "white")
    for place, side in enumerate(drawn):
        picture.paste(side, (0, place * (SIZE[1] + _GAP)))
    stored, notice = BytesIO(), PngInfo()
    notice.add_text(
        "Comment", "Synthetic card of an emulator (Kazashi). It is not a document, and shows no real person."
    )
    picture.save(stored, "PNG", dpi=(_DPI, _DPI), pnginfo=notice)
    return stored.getvalue()


def _objects(content: bytes) -> dict[int, Tlv]:
    return {item.tag: item for item in parse(content)[0].children()}


def _front(face: dict[int, Tlv]) -> Image.Image:
    side, draw = _blank()
    _labelled(draw, (_MARGIN, 70), "氏名")
    side.paste(_enlarged(face[0xDF25], 1.5), (_MARGIN, 102))
    _labelled(draw, (_MARGIN, 190), "住所")
    side.paste(_enlarged(face[0xDF26], 1.5), (_MARGIN, 222))
    _born(draw, face)
    _labelled(draw, (_MARGIN + 400, 390), "性別")
    draw.text((_MARGIN + 400, 420), _SEXES.get(face[0xDF23].value.decode(), "－"), fill=_INK, font=font(34))
    _valid(draw, face)
    _labelled(draw, (SIZE[0] - 246, 460), "セキュリティコード")
    side.paste(_enlarged(face[0xDF2A], 4), (SIZE[0] - 246, 492))
    _photograph(side, face)
    return _marked(side)


def _next_front(face: dict[int, Tlv], reference_number: str) -> Image.Image:
    """Draw the front of the next card: it has the reading and the Latin name, and a printed reference number; sex is
    only in the chip."""
    side, draw = _blank()
    _labelled(draw, (_MARGIN, 70), "氏名")
    side.paste(_enlarged(face[_READING], 0.9), (_MARGIN, 98))
    side.paste(_enlarged(face[0xDF25], 1.5), (_MARGIN, 138))
    side.paste(_enlarged(face[_LATIN_NAME], 0.9), (_MARGIN, 208))
    _labelled(draw, (_MARGIN, 256), "住所")
    side.paste(_enlarged(face[0xDF26], 1), (_MARGIN, 286))
    _born(draw, face)
    _valid(draw, face)
    _labelled(draw, (SIZE[0] - 246, 460), "照合番号")
    draw.text((SIZE[0] - 246, 492), reference_number, fill=_INK, font=font(40))
    _photograph(side, face)
    return _marked(side)


def _back(face: dict[int, Tlv], number: dict[int, Tlv]) -> Image.Image:
    side, draw = _blank()
    _labelled(draw, (_MARGIN, 90), "個人番号")
    side.paste(_enlarged(number[0xDF41], 8), (_MARGIN, 124))
    _labelled(draw, (_MARGIN, 260), "氏名")
    side.paste(_enlarged(face[0xDF25], 1.5), (_MARGIN, 292))
    _born(draw, face)
    return _marked(side)


def _born(draw: ImageDraw.ImageDraw, face: dict[int, Tlv]) -> None:
    _labelled(draw, (_MARGIN, 390), "生年月日")
    draw.text((_MARGIN, 420), f"{_day(face[0xDF22])}生", fill=_INK, font=font(34))


def _valid(draw: ImageDraw.ImageDraw, face: dict[int, Tlv]) -> None:
    _labelled(draw, (_MARGIN, 490), "有効期限")
    draw.text((_MARGIN, 520), f"{_day(face[0xDF29])}まで有効", fill=_INK, font=font(34))


def _photograph(side: Image.Image, face: dict[int, Tlv]) -> None:
    with Image.open(BytesIO(face[0xDF27].value)) as photograph:
        side.paste(photograph.convert("RGB").resize((270, 338)), (SIZE[0] - 270 - _MARGIN, 90))


def _blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    side = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(side)
    draw.rounded_rectangle((0, 0, SIZE[0] - 1, SIZE[1] - 1), 36, fill=_PAPER, outline=_LABEL, width=2)
    for top in (14, SIZE[1] - 44):
        draw.text((SIZE[0] / 2, top), NOTICE, fill=_RED, font=font(26), anchor="ma")
    return side, draw


def _marked(side: Image.Image) -> Image.Image:
    """Write the mark across the side, so that no cut-out can pass for a document."""
    mark = Image.new("L", SIZE, 0)
    ImageDraw.Draw(mark).text((SIZE[0] / 2, SIZE[1] / 2), MARK, fill=70, font=font(150), anchor="mm")
    side.paste(Image.new("RGB", SIZE, _RED), mask=mark.rotate(24))
    return side


def _labelled(draw: ImageDraw.ImageDraw, place: tuple[int, int], words: str) -> None:
    draw.text(place, words, fill=_LABEL, font=font(24))


def _enlarged(drawn: Tlv, times: float) -> Image.Image:
    """Return a picture of the card larger, in the colours of the face."""
    with Image.open(BytesIO(drawn.value)) as picture:
        grey = picture.convert("L")
    size = (round(grey.width * times), round(grey.height * times))
    return ImageOps.colorize(grey.resize(size, Image.Resampling.BICUBIC), black=_INK, white=_PAPER)


def _day(digits: Tlv) -> str:
    """Write YYYYMMDD in Japanese. Unknown months and days (00) are left blank."""
    text = digits.value.decode("ascii")
    month, day = (part.lstrip("0") or "　" for part in (text[4:6], text[6:8]))
    return f"{text[:4]}年{month}月{day}日"
