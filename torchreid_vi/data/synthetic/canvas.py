"""A canvas to paint on in body heights: polygons with a material's pattern, limbs and ellipses."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from torchreid_vi.data.synthetic.person import Material, Person
from torchreid_vi.data.synthetic.scene import PANORAMA, Scene
from torchreid_vi.modality import Modality

Point = tuple[float, float]


class Canvas:
    """A background and where a person stands before it; lengths are in body heights until they reach a pixel."""

    def __init__(
        self, person: Person, scene: Scene, rng: np.random.Generator, width: int, height: int
    ) -> None:
        self.person, self.scene, self.rng = person, scene, rng
        self.image = self._background(width, height)
        self.draw = ImageDraw.Draw(self.image)
        self.scale = height * person.height * rng.uniform(0.88, 1.04)
        self.centre = width * (0.5 + rng.uniform(-0.08, 0.08))
        self.top = (height - self.scale) * rng.uniform(0.15, 0.85)
        angle = scene.facing + rng.normal(0, 0.7)
        self.back = math.cos(angle) < 0
        self.profile = abs(math.sin(angle))  # 0: seen from front or back, 1: from the side
        self.heading = 1 if math.sin(angle) > 0 else -1
        self.swing = math.sin(rng.uniform(0, 2 * math.pi)) * person.gait
        self.narrow = 1 - 0.38 * self.profile

    def _background(self, width: int, height: int) -> Image.Image:
        panorama = self.scene.panorama
        shown = panorama.width // PANORAMA
        left = int(self.rng.integers(0, panorama.width - shown + 1))
        box = (left, 0, left + shown, panorama.height)
        return panorama.resize((width, height), Image.Resampling.NEAREST, box=box)

    def xy(self, point: Point) -> Point:
        return self.centre + point[0] * self.scale, self.top + point[1] * self.scale

    def colour(self, material: Material, which: int = 0) -> tuple[int, int, int]:
        if self.scene.modality is Modality.VISIBLE:
            red, green, blue = (int(255 * value) for value in material.colours[which])
            return red, green, blue
        grey = int(255 * material.reflectances[which])
        return grey, grey, grey

    def shape(self, points: list[Point], material: Material) -> None:
        """Paint a polygon filled with a material, its pattern lying on the body."""
        corners = [self.xy(point) for point in points]
        if material.pattern == "plain":
            self.draw.polygon(corners, fill=self.colour(material))
            return
        xs, ys = zip(*corners, strict=True)
        left, top = max(int(min(xs)), 0), max(int(min(ys)), 0)
        right, bottom = min(int(max(xs)) + 1, self.image.width), min(int(max(ys)) + 1, self.image.height)
        if right <= left or bottom <= top:
            return
        mask = Image.new("1", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in corners], fill=1)
        u = (np.arange(left, right) - self.centre) / self.scale / self.narrow
        v = (np.arange(top, bottom) - self.top) / self.scale
        second = _pattern(material, u[None, :], v[:, None])
        self.image.paste(self.colour(material), (left, top, right, bottom), mask)
        mask = Image.fromarray(np.asarray(mask) & second)
        self.image.paste(self.colour(material, 1), (left, top, right, bottom), mask)

    def limb(self, start: Point, end: Point, thickness: float, material: Material) -> None:
        """Paint a straight piece of arm or leg, a little thinner at its end."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length * thickness / 2, dx / length * thickness / 2
        thin = 0.8
        self.shape(
            [
                (start[0] + nx, start[1] + ny),
                (end[0] + nx * thin, end[1] + ny * thin),
                (end[0] - nx * thin, end[1] - ny * thin),
                (start[0] - nx, start[1] - ny),
            ],
            material,
        )

    def ellipse(self, x: float, y: float, rx: float, ry: float, material: Material) -> None:
        self.draw.ellipse((*self.xy((x - rx, y - ry)), *self.xy((x + rx, y + ry))), self.colour(material))

    def obstacle(self) -> None:
        """Paint something in front of the person: a low wall or a post."""
        width, height = self.image.size
        colour = self.image.getpixel((int(self.rng.integers(width)), int(self.rng.integers(height))))
        if self.rng.uniform() < 0.5:
            box = (0.0, height * self.rng.uniform(0.7, 0.9), float(width), float(height))
        else:
            left = width * self.rng.uniform(0, 0.9)
            box = (left, 0.0, left + width * self.rng.uniform(0.1, 0.22), float(height))
        self.draw.rectangle(box, fill=colour)


def _pattern(material: Material, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return where a garment shows its second colour; ``u`` (1, W) and ``v`` (H, 1) are in body heights."""
    a, b = np.floor(u / material.period), np.floor(v / material.period)
    if material.pattern == "stripes":
        return np.broadcast_to(b % 2 == 0, np.broadcast_shapes(u.shape, v.shape))
    if material.pattern == "columns":
        return np.broadcast_to(a % 2 == 0, np.broadcast_shapes(u.shape, v.shape))
    if material.pattern == "checks":
        return (a + b) % 2 == 0
    if material.pattern == "dots":
        return (u / material.period - a - 0.5) ** 2 + (v / material.period - b - 0.5) ** 2 < 0.08
    if material.pattern == "band":
        phase = v / (material.period * 4) % 1
        return np.broadcast_to(phase < 0.35, np.broadcast_shapes(u.shape, v.shape))
    if material.pattern == "diagonal":
        return np.floor((u + v) / (material.period * 1.4)) % 2 == 0
    return (np.abs(u) < material.period) & (np.abs(v - 0.28) < material.period * 1.2)
