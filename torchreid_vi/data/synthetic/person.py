"""Who a synthetic person is: body, hair, garments and what they carry, sampled once from a seed.

A material has colours for visible cameras and reflectances for infrared ones. The two are sampled
independently, as dyes behave under near-infrared light: a person's colours tell nothing about how they
look in infrared, while their shape, the cut of their garments, the patterns on them and what they carry
survive in both.
"""

from __future__ import annotations

from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np

TOPS = ("t-shirt", "shirt", "jacket", "coat", "dress", "vest")
BOTTOMS = ("trousers", "shorts", "skirt")
HAIR = ("short", "long", "bun", "bald", "hat")
PATTERNS = ("plain", "plain", "stripes", "columns", "checks", "dots", "band", "diagonal", "emblem")
CARRIED = ("nothing", "nothing", "backpack", "shoulder bag", "handbag", "suitcase")


@dataclass(frozen=True)
class Material:
    """Two colours (RGB in [0, 1]), two infrared reflectances in [0, 1] and the pattern they form."""

    colours: tuple[tuple[float, ...], tuple[float, ...]]
    reflectances: tuple[float, float]
    pattern: str = "plain"
    period: float = 0.06  # of the pattern, in body heights


@dataclass(frozen=True)
class Person:
    """One identity. Lengths are fractions of the body height."""

    height: float  # of the body, as a fraction of the image height
    head: float
    shoulders: float
    hips: float
    waist: float  # distance of the hips from the top of the head
    limb: float  # thickness of an arm
    gait: float  # how far the legs swing
    hair_style: str
    top_kind: str
    bottom_kind: str
    carried: str
    hem: float  # how far a coat, dress, skirt or pair of shorts reaches down the legs
    bag_size: float
    skin: Material
    hair: Material
    top: Material
    bottom: Material
    shoes: Material
    bag: Material


def random_material(rng: np.random.Generator, patterned: bool = True) -> Material:
    """A material whose infrared look is independent of its colours."""

    def colour() -> tuple[float, ...]:
        hue, saturation, value = rng.uniform(), rng.beta(1.6, 1.6), rng.uniform(0.12, 0.95)
        return hsv_to_rgb(hue, saturation, value)

    first = rng.uniform(0.15, 0.9)
    contrast = rng.uniform(0.2, 0.5) * (1 if first < 0.5 else -1)
    return Material(
        colours=(colour(), colour()),
        reflectances=(first, first + contrast),
        pattern=str(rng.choice(PATTERNS)) if patterned else "plain",
        period=rng.uniform(0.035, 0.09),
    )


def _uniform_material(colour: tuple[float, ...], reflectance: float) -> Material:
    return Material((colour, colour), (reflectance, reflectance))


def random_person(rng: np.random.Generator) -> Person:
    """Sample one identity from ``rng``."""
    tone = rng.uniform()
    skin = (0.35 + 0.55 * tone, 0.22 + 0.52 * tone, 0.14 + 0.48 * tone)
    grey = rng.uniform(0.05, 0.6)
    hair = (grey, grey * rng.uniform(0.6, 1.0), grey * rng.uniform(0.3, 0.9))
    return Person(
        height=rng.uniform(0.8, 0.94),
        head=rng.uniform(0.115, 0.145),
        shoulders=rng.uniform(0.095, 0.145),
        hips=rng.uniform(0.075, 0.125),
        waist=rng.uniform(0.46, 0.53),
        limb=rng.uniform(0.035, 0.058),
        gait=rng.uniform(0.04, 0.12),
        hair_style=str(rng.choice(HAIR)),
        top_kind=str(rng.choice(TOPS)),
        bottom_kind=str(rng.choice(BOTTOMS)),
        carried=str(rng.choice(CARRIED)),
        hem=rng.uniform(0.25, 0.6),
        bag_size=rng.uniform(0.8, 1.3),
        skin=_uniform_material(skin, 0.72),
        hair=_uniform_material(hair, rng.uniform(0.2, 0.6)),
        top=random_material(rng),
        bottom=random_material(rng),
        shoes=random_material(rng, patterned=False),
        bag=random_material(rng, patterned=False),
    )
