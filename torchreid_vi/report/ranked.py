"""Draw ranked galleries: a query on the left, its answers beside it. Heads can be hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

RIGHT, WRONG, NEUTRAL = (24, 140, 60), (200, 40, 40), (110, 110, 110)
_FRAME, _GAP, _TEXT = 4, 8, 16  # pixels
_HEAD = 0.3  # of a crop's height, from its top; the head of a person who stands is in the top quarter
_CELLS = (4, 3)  # columns and rows that are left of it


class Shown(NamedTuple):
    """An image on the picture.

    Attributes:
        image: An image of any size.
        caption: Lines under it; the end of a line that is too long is shown.
        right: Whether it shows the query's person, which colours its frame; None when that is unknown.
    """

    image: Image.Image
    caption: str = ""
    right: bool | None = None


def ranked_picture(
    rows: Sequence[tuple[Shown, Sequence[Shown]]], size: tuple[int, int] = (64, 160), blurred: bool = False
) -> Image.Image:
    """Draw a row for each query: it, and its answers in order; matches framed in green, others in red.

    Args:
        rows: Queries, each with its answers.
        size: Width and height of each image, in pixels.
        blurred: Whether heads are hidden.
    """
    lines = max(
        (shown.caption.count("\n") + 1 for query, answers in rows for shown in (query, *answers)), default=1
    )
    width, below = size[0] + 2 * _FRAME, size[1] + 2 * _FRAME
    height = below + lines * _TEXT
    columns = 1 + max((len(answers) for _, answers in rows), default=0)
    picture = Image.new("RGB", (columns * (width + _GAP) + _GAP, len(rows) * (height + _GAP)), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=_TEXT - 4)
    for row, (query, answers) in enumerate(rows):
        for column, shown in enumerate([query, *answers]):
            left = column * (width + _GAP) + (_GAP if column else 0)
            top = row * (height + _GAP)
            colour = {True: RIGHT, False: WRONG, None: NEUTRAL}[shown.right]
            draw.rectangle((left, top, left + width - 1, top + below - 1), colour)
            image = shown.image.convert("RGB").resize(size)
            picture.paste(hide_head(image) if blurred else image, (left + _FRAME, top + _FRAME))
            for number, line in enumerate(shown.caption.split("\n")):
                middle = left + width // 2, top + below + number * _TEXT + _TEXT // 2
                draw.text(middle, _end(line, font, width), colour, font, "mm")
    return picture


def _end(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return a line, or as much of its end as the width has room for."""
    while font.getlength(line) > width:
        line = "…" + line[2:]
    return line


def hide_head(image: Image.Image) -> Image.Image:
    """Return a crop of a person in RGB with its top reduced to the means of twelve cells.

    No detector looks for the head: the crop has to be of one person who stands upright.

    >>> crop = Image.effect_noise((64, 160), 80)
    >>> hidden = hide_head(crop)
    >>> len(hidden.crop((0, 0, 64, 48)).getcolors()) <= 12
    True
    """
    hidden = image.convert("RGB")
    top = (0, 0, image.width, max(1, round(_HEAD * image.height)))
    cells = hidden.crop(top).resize(_CELLS, Image.Resampling.BOX)
    hidden.paste(cells.resize(top[2:], Image.Resampling.NEAREST), top)
    return hidden
