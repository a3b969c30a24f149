"""The pictures on the chip: the printed name and address, the two numbers, and a synthetic photograph.

Text is drawn in IPAmj Mincho, a font made for the characters of the family and resident registers.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFont

FONT = Path("/usr/share/fonts/truetype/ipamj/ipamjm.ttf")
FONT_PACKAGE = "fonts-ipamj-mincho"

NAME_SIZE = (432, 48)
ADDRESS_SIZE = (432, 96)
PHOTOGRAPH_SIZE = (192, 240)
_SIZES_OF_TYPE = (24, 20, 16, 12, 9, 7)
_DIGIT = (6, 12)


class FontMissing(Exception):
    """The font is not installed."""

    def __init__(self) -> None:
        super().__init__(f"the font {FONT} is missing; install the Debian package {FONT_PACKAGE}")


def text_picture(text: str, size: tuple[int, int]) -> bytes:
    """Return text as a 1-bit PNG of `size` (width, height in pixels).

    It has the largest type size in which the text fits, broken into lines if necessary. Raises FontMissing.
    """
    width, height = size
    for points in _SIZES_OF_TYPE:
        lines = _broken(text, _font(points), width)
        if len(lines) * (points + 1) <= height:
            break
    picture = Image.new("1", size, 1)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text((0, number * (points + 1)), line, fill=0, font=_font(points))
    return _png(picture)


def digits_picture(digits: str) -> bytes:
    """Return digits as a 1-bit PNG, 6 by 12 pixels each: 72x12 for an individual number, 24x12 for a security code."""
    width, height = _DIGIT
    picture = Image.new("1", (width * len(digits), height), 1)
    draw, font = ImageDraw.Draw(picture), _digit_font()
    for place, digit in enumerate(digits):
        draw.text((place * width, 0), digit, fill=0, font=font)
    return _png(picture)


def photograph(chance: Random) -> bytes:
    """Return a drawn head and shoulders in random colours as JPEG 2000. It does not show a real person."""
    width, height = PHOTOGRAPH_SIZE
    ground, coat, skin, hair = (
        tuple(chance.randint(low, high) for _ in range(3))
        for low, high in ((190, 240), (30, 130), (180, 215), (15, 70))
    )
    skin = tuple(sorted(skin, reverse=True))
    picture = Image.new("RGB", PHOTOGRAPH_SIZE, ground)
    draw = ImageDraw.Draw(picture)
    centre, lean = width // 2, chance.randint(-6, 6)
    draw.ellipse((centre - 85, 175, centre + 85, height + 120), fill=coat)
    draw.rectangle((centre - 16, 140, centre + 16, 190), fill=skin)
    draw.ellipse((centre - 56 + lean, 38, centre + 56 + lean, 150), fill=hair)
    draw.ellipse((centre - 44 + lean, 62, centre + 44 + lean, 168), fill=skin)
    for side in (-18, 18):
        draw.ellipse((centre + side - 4 + lean, 108, centre + side + 4 + lean, 114), fill=hair)
    draw.arc((centre - 16 + lean, 124, centre + 16 + lean, 146), 20, 160, fill=coat, width=2)
    stored = BytesIO()
    picture.save(stored, "JPEG2000", quality_mode="rates", quality_layers=[24])
    return stored.getvalue()


@lru_cache(maxsize=1)
def _digit_font() -> ImageFont.ImageFont:
    return ImageFont.load_default_imagefont()


@lru_cache
def _font(points: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(str(FONT), points)
    except OSError:
        raise FontMissing from None


def _broken(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break text into lines of at most `width` pixels."""
    lines = [""]
    for character in text:
        if lines[-1] and font.getlength(lines[-1] + character) > width:
            lines.append("")
        lines[-1] += character
    return lines


def _png(picture: Image.Image) -> bytes:
    stored = BytesIO()
    picture.save(stored, "PNG", optimize=True)
    return stored.getvalue()
