"""The holder's photograph as the chip holds it, made from a picture file."""

from __future__ import annotations

import warnings
from io import BytesIO

from PIL import Image, ImageOps

from kazashi.applets.pictures import PHOTOGRAPH_SIZE, jpeg_2000

LARGEST_FILE = 10 << 20
"""The maximum size of a picture file, in bytes."""
MOST_PIXELS = 50_000_000
FORMATS = ("JPEG", "JPEG2000", "PNG", "WEBP")


class PhotoRejected(Exception):
    """A file cannot become the photograph of a card; the message says why."""


def photo(content: bytes) -> bytes:
    """Return the picture in a file as the card's photograph: JPEG 2000, in colour, of PHOTOGRAPH_SIZE.

    It is turned as its EXIF data say, cut to the card's proportions (4 by 5) around its middle, and made smaller; what
    is transparent becomes white. Raises PhotoRejected if the file is larger than LARGEST_FILE or not a picture in one
    of FORMATS, and if the picture has more than MOST_PIXELS or is smaller than PHOTOGRAPH_SIZE.
    """
    if len(content) > LARGEST_FILE:
        raise PhotoRejected(f"a photo's file must have at most {LARGEST_FILE >> 20} MB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MOST_PIXELS is below Pillow's limit
            opened = Image.open(BytesIO(content), formats=FORMATS)
        with opened as picture:
            width, height = picture.size
            if width * height > MOST_PIXELS:  # the size is known before the picture is decoded
                raise PhotoRejected(
                    f"the photo has {width} x {height} pixels; the most is {MOST_PIXELS // 10**6} million"
                )
            upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except Image.DecompressionBombError as error:  # Pillow's own limit, which it checks before the size is known here
        raise PhotoRejected(f"the photo has too many pixels; the most is {MOST_PIXELS // 10**6} million") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise PhotoRejected(
            f"the photo is not a complete picture in one of the formats {', '.join(FORMATS)}"
        ) from error
    if upright.width < PHOTOGRAPH_SIZE[0] or upright.height < PHOTOGRAPH_SIZE[1]:
        least = " x ".join(map(str, PHOTOGRAPH_SIZE))
        raise PhotoRejected(f"the photo has {upright.width} x {upright.height} pixels, and the card needs {least}")
    white = Image.new("RGBA", upright.size, "white")
    return jpeg_2000(ImageOps.fit(Image.alpha_composite(white, upright).convert("RGB"), PHOTOGRAPH_SIZE))
