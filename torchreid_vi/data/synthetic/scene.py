"""Scenes of synthetic people: a camera's background, light and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from torchreid_vi.modality import Modality

PANORAMA = 6  # width of a background, in image widths


@dataclass(frozen=True)
class Scene:
    """One camera's place.

    Attributes:
        modality: What the camera sees.
        panorama: Background, several images wide; each picture shows a part of it.
        gain: Light of the three channels (3,).
        contrast: Slope of its response around mid-grey.
        noise: Standard deviation of its noise, in grey levels.
        facing: The direction in which most people walk past it, in radians.
        falloff: How much darker the corners are than the centre, from 0 to 1.
    """

    modality: Modality
    panorama: Image.Image
    gain: np.ndarray
    contrast: float
    noise: float
    facing: float
    falloff: float


def random_scene(rng: np.random.Generator, modality: Modality, width: int, height: int) -> Scene:
    """Render one camera's place; ``width`` and ``height`` are those of the pictures to come, in pixels."""
    visible = modality is Modality.VISIBLE
    return Scene(
        modality=modality,
        panorama=_panorama(rng, modality, width * PANORAMA, height),
        gain=rng.uniform(0.75, 1.2, 3) if visible else np.full(3, rng.uniform(0.8, 1.15)),
        contrast=rng.uniform(0.75, 1.1),
        noise=rng.uniform(2, 5) if visible else rng.uniform(4, 9),
        facing=rng.uniform(0, 2 * np.pi),
        falloff=rng.uniform(0.0, 0.2) if visible else rng.uniform(0.25, 0.5),
    )


def _panorama(rng: np.random.Generator, modality: Modality, width: int, height: int) -> Image.Image:
    """A wall, a floor, and doors, windows, posts and tiles in front of them."""

    def colour() -> tuple[int, int, int]:
        level = rng.uniform(60, 210)
        tint = rng.uniform(-35, 35, 3) if modality is Modality.VISIBLE else np.zeros(3)
        red, green, blue = np.clip(level + tint, 0, 255).astype(int).tolist()
        return red, green, blue

    picture = Image.new("RGB", (width, height), colour())
    draw = ImageDraw.Draw(picture)
    horizon = int(height * rng.uniform(0.55, 0.8))
    draw.rectangle((0, horizon, width, height), fill=colour())
    for _ in range(rng.integers(6, 14)):
        left, top = int(rng.uniform(0, width)), int(rng.uniform(0, horizon * 0.7))
        right, bottom = left + int(rng.uniform(0.03, 0.2) * width), int(rng.uniform(top + 2, horizon + 2))
        draw.rectangle((left, top, right, bottom), fill=colour())
    line = colour()
    for y in range(horizon, height, max(int(height * rng.uniform(0.05, 0.15)), 2)):
        draw.line((0, y, width, y), fill=line)
    return picture
