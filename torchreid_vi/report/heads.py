"""Pictures of people without their heads, to be shown to others."""

from __future__ import annotations

from PIL import Image

#: How pictures of people can be shown.
PEOPLE = ("shown", "blurred", "none")
_SHARE = 0.3  # of a crop's height, from its top; the head of a person who stands is in the top quarter
_CELLS = (4, 3)  # that are left of it, columns and rows


def hide_head(image: Image.Image) -> Image.Image:
    """A crop of a person in RGB with the means of twelve cells in place of its top.

    No detector looks for the head: the crop has to be of one person who stands upright.

    >>> crop = Image.effect_noise((64, 160), 80)
    >>> hidden = hide_head(crop)
    >>> len(hidden.crop((0, 0, 64, 48)).getcolors()) <= 12
    True
    """
    hidden = image.convert("RGB")
    top = (0, 0, image.width, max(1, round(_SHARE * image.height)))
    band = hidden.crop(top)
    cells = band.resize(_CELLS, Image.Resampling.BOX)
    hidden.paste(cells.resize(band.size, Image.Resampling.NEAREST), top)
    return hidden
