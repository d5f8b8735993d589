"""Ranked galleries as a picture: a query on the left, what was found for it beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from torchreid_vi.report.heads import hide_head

RIGHT, WRONG, NEUTRAL = (24, 140, 60), (200, 40, 40), (110, 110, 110)
_FRAME, _GAP, _TEXT = 4, 8, 16  # pixels


class Shown(NamedTuple):
    """An image on the picture.

    Attributes:
        image: of any size.
        caption: a few letters under it.
        right: whether it shows the query's person, which colours its frame; not known when left out.
    """

    image: Image.Image
    caption: str = ""
    right: bool | None = None


def ranked_picture(
    rows: Sequence[tuple[Shown, Sequence[Shown]]], size: tuple[int, int] = (64, 160), blurred: bool = False
) -> Image.Image:
    """A row for each query: it, and its answers in order; right ones framed in green, wrong ones in red.

    Args:
        rows: each a query and its answers.
        size: of each image, (width, height) in pixels.
        blurred: whether heads are hidden.
    """
    width, height = size[0] + 2 * _FRAME, size[1] + 2 * _FRAME + _TEXT
    columns = 1 + max((len(answers) for _, answers in rows), default=0)
    picture = Image.new("RGB", (columns * (width + _GAP) + _GAP, len(rows) * (height + _GAP)), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=_TEXT - 4)
    for row, (query, answers) in enumerate(rows):
        for column, shown in enumerate([query, *answers]):
            left = column * (width + _GAP) + (_GAP if column else 0)
            top = row * (height + _GAP)
            colour = {True: RIGHT, False: WRONG, None: NEUTRAL}[shown.right]
            draw.rectangle((left, top, left + width - 1, top + height - _TEXT - 1), colour)
            image = shown.image.convert("RGB").resize(size)
            picture.paste(hide_head(image) if blurred else image, (left + _FRAME, top + _FRAME))
            draw.text((left + width // 2, top + height - _TEXT // 2), shown.caption, colour, font, "mm")
    return picture
