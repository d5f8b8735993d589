"""Draws a person in front of a camera: pose, body, garments, what they carry, then light and noise."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from torchreid_vi.data.synthetic.person import Material, Person
from torchreid_vi.data.synthetic.scene import PANORAMA, Scene
from torchreid_vi.modality import Modality

_SUPERSAMPLING = 2
_BARE_LEGS = ("shorts", "skirt")
_SLEEVELESS = ("dress", "vest")
Point = tuple[float, float]


def render(person: Person, scene: Scene, rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """One picture of ``person`` (RGB, ``width`` × ``height`` pixels) under the camera of ``scene``."""
    painter = _Painter(person, scene, rng, width * _SUPERSAMPLING, height * _SUPERSAMPLING)
    painter.paint_person()
    if rng.uniform() < 0.15:
        painter.paint_obstacle()
    picture = painter.canvas.reduce(_SUPERSAMPLING)
    if rng.uniform() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9) * height / 160))
    return _expose(picture, scene, rng)


def _expose(picture: Image.Image, scene: Scene, rng: np.random.Generator) -> Image.Image:
    """The camera's light, contrast, vignette and noise, with the variation of one moment."""
    pixels = np.asarray(picture, dtype=np.float32)
    height, width = pixels.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    side = rng.uniform(-0.15, 0.15)
    light = (1 - scene.falloff * np.minimum(x**2 + y**2, 1.5)) * (1 + side * x) * rng.uniform(0.75, 1.2)
    pixels = (pixels - 128) * scene.contrast * rng.uniform(0.85, 1.1) + 128
    pixels = pixels * (light[..., None] * scene.gain.astype(np.float32))
    channels = 3 if scene.modality is Modality.VISIBLE else 1
    pixels = pixels + rng.standard_normal((height, width, channels), dtype=np.float32) * scene.noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


class _Painter:
    """Paints one pose of one person on a canvas; lengths are in body heights until they reach a pixel."""

    def __init__(
        self, person: Person, scene: Scene, rng: np.random.Generator, width: int, height: int
    ) -> None:
        self.person, self.scene, self.rng = person, scene, rng
        self.canvas = self._background(width, height)
        self.draw = ImageDraw.Draw(self.canvas)
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

    # Pixels and paint

    def _xy(self, point: Point) -> Point:
        return self.centre + point[0] * self.scale, self.top + point[1] * self.scale

    def _colour(self, material: Material, which: int = 0) -> tuple[int, int, int]:
        if self.scene.modality is Modality.VISIBLE:
            red, green, blue = (int(255 * value) for value in material.colours[which])
            return red, green, blue
        grey = int(255 * material.reflectances[which])
        return grey, grey, grey

    def _shape(self, points: list[Point], material: Material) -> None:
        """A polygon filled with a material, its pattern lying on the body."""
        corners = [self._xy(point) for point in points]
        if material.pattern == "plain":
            self.draw.polygon(corners, fill=self._colour(material))
            return
        xs, ys = zip(*corners, strict=True)
        left, top = max(int(min(xs)), 0), max(int(min(ys)), 0)
        right, bottom = min(int(max(xs)) + 1, self.canvas.width), min(int(max(ys)) + 1, self.canvas.height)
        if right <= left or bottom <= top:
            return
        mask = Image.new("1", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in corners], fill=1)
        u = (np.arange(left, right) - self.centre) / self.scale / self.narrow
        v = (np.arange(top, bottom) - self.top) / self.scale
        second = _pattern(material, u[None, :], v[:, None])
        self.canvas.paste(self._colour(material), (left, top, right, bottom), mask)
        mask = Image.fromarray(np.asarray(mask) & second)
        self.canvas.paste(self._colour(material, 1), (left, top, right, bottom), mask)

    def _limb(self, start: Point, end: Point, thickness: float, material: Material) -> None:
        """A straight piece of arm or leg, a little thinner at its end."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        nx, ny = -dy / length * thickness / 2, dx / length * thickness / 2
        thin = 0.8
        self._shape(
            [
                (start[0] + nx, start[1] + ny),
                (end[0] + nx * thin, end[1] + ny * thin),
                (end[0] - nx * thin, end[1] - ny * thin),
                (start[0] - nx, start[1] - ny),
            ],
            material,
        )

    def _ellipse(self, x: float, y: float, rx: float, ry: float, material: Material) -> None:
        self.draw.ellipse((*self._xy((x - rx, y - ry)), *self._xy((x + rx, y + ry))), self._colour(material))

    # The person, from back to front

    def paint_person(self) -> None:
        bag_behind = self.person.carried == "backpack" and not self.back
        if bag_behind:
            self._backpack()
        if not self.back:
            self._long_hair()
        self._legs()
        self._arm(-1)
        self._torso()
        self._arm(1)
        self._head()
        if self.back:
            self._long_hair()
        if not bag_behind:
            self._carried()

    def _legs(self) -> None:
        person, knee = self.person, 0.5 * (self.person.waist + 1)
        hip = person.hips * self.narrow * 0.5
        for side in (-1, 1):
            forward = side * self.swing * (0.3 + self.profile) * self.heading
            foot_y = 1 - abs(self.swing) * (0.5 if side * self.swing > 0 else 0)
            joints = [(side * hip, person.waist), (side * hip + forward * 0.6, knee)]
            foot = (side * hip * 0.9 + forward, foot_y - 0.02)
            bare = person.top_kind == "dress" or person.bottom_kind in _BARE_LEGS
            lower = person.skin if bare else person.bottom
            thigh = 1.75 * person.limb + 0.35 * hip
            self._limb(joints[0], joints[1], thigh, lower)
            self._limb(joints[1], foot, thigh * 0.75, lower)
            toe = 0.045 * self.profile * self.heading
            self._ellipse(foot[0] + toe / 2, foot_y - 0.012, 0.028 + abs(toe) / 2, 0.017, person.shoes)
            if person.bottom_kind == "shorts" and person.top_kind != "dress":
                hem = person.waist + (1 - person.waist) * person.hem
                share = min((hem - person.waist) / (knee - person.waist), 1.0)
                end = (joints[0][0] + (joints[1][0] - joints[0][0]) * share, hem)
                self._limb(joints[0], end, thigh * 1.25, person.bottom)
        if person.bottom_kind == "skirt" and person.top_kind != "dress":
            self._flare(person.waist - 0.04, person.bottom)

    def _flare(self, start: float, material: Material) -> None:
        """A skirt, or the lower part of a coat or dress, from ``start`` down to the hem."""
        person = self.person
        hem, hip = person.waist + (1 - person.waist) * person.hem, person.hips * self.narrow
        wide = hip * 1.15 + 0.02 + abs(self.swing) * 0.4
        self._shape([(-hip, start), (hip, start), (wide, hem), (-wide, hem)], material)

    def _torso(self) -> None:
        person = self.person
        shoulder, hip = person.shoulders * self.narrow, person.hips * self.narrow
        neck = person.head * 1.08
        self._shape(
            [(-0.03, neck - 0.03), (0.03, neck - 0.03), (0.03, neck + 0.03), (-0.03, neck + 0.03)],
            person.skin,
        )
        hem = person.waist + 0.03
        outline = [
            (-shoulder * 0.5, neck),
            (shoulder * 0.5, neck),
            (shoulder, neck + 0.035),
            (hip, hem),
            (-hip, hem),
            (-shoulder, neck + 0.035),
        ]
        self._shape(outline, person.top)
        if person.top_kind in ("coat", "dress"):
            self._flare(person.waist - 0.01, person.top)
        if person.top_kind == "jacket" and not self.back:
            middle = self.heading * self.profile * shoulder * 0.6
            opening = [
                (middle - 0.02, neck),
                (middle + 0.02, neck),
                (middle + 0.035, hem),
                (middle - 0.035, hem),
            ]
            self._shape(opening, person.shoes)

    def _arm(self, side: int) -> None:
        person = self.person
        shoulder = (side * person.shoulders * self.narrow * 0.95, person.head * 1.08 + 0.05)
        forward = -side * self.swing * (0.2 + self.profile) * self.heading
        elbow = (shoulder[0] + side * 0.015 + forward * 0.5, shoulder[1] + 0.155)
        hand = (elbow[0] + forward * 0.8, elbow[1] + 0.15)
        bare = person.skin if person.top_kind in _SLEEVELESS else person.top
        self._limb(shoulder, elbow, person.limb * 1.15, bare)
        long_sleeves = person.top_kind in ("shirt", "jacket", "coat")
        self._limb(elbow, hand, person.limb, person.top if long_sleeves else person.skin)
        self._ellipse(*hand, person.limb * 0.45, person.limb * 0.5, person.skin)

    def _head(self) -> None:
        person = self.person
        ry = person.head / 2
        rx = ry * 0.74
        x, y = self.heading * self.profile * 0.012, ry
        if person.hair_style == "bun":
            self._ellipse(
                x - self.heading * self.profile * rx, y - ry * 0.85, rx * 0.5, ry * 0.4, person.hair
            )
        self._ellipse(x, y, rx, ry, person.skin)
        if person.hair_style == "bald":
            return
        if self.back:
            self._ellipse(x, y, rx, ry * 0.85, person.hair)
        box = (*self._xy((x - rx * 1.08, y - ry * 1.08)), *self._xy((x + rx * 1.08, y + ry * 0.9)))
        self.draw.pieslice(box, 180, 360, fill=self._colour(person.hair))
        if person.hair_style == "hat":
            brim = rx * 1.6
            self._shape([(x - rx, 0), (x + rx, 0), (x + rx * 1.1, ry), (x - rx * 1.1, ry)], person.shoes)
            self._limb((x - brim, ry), (x + brim, ry), 0.018, person.shoes)

    def _long_hair(self) -> None:
        if self.person.hair_style == "long":
            ry = self.person.head / 2
            x = -self.heading * self.profile * 0.008
            self._ellipse(x, ry * 1.75, ry * 0.89, ry * 1.35, self.person.hair)

    # What they carry

    def _carried(self) -> None:
        person, size = self.person, self.person.bag_size
        side = self.heading * person.hips * self.narrow
        if person.carried == "backpack":
            self._backpack()
        elif person.carried == "shoulder bag":
            neck = person.head * 1.2
            self._limb((-side * 0.9, neck), (side * 1.25, person.waist), 0.018, person.bag)
            self._box(side * 1.25, person.waist + 0.03, 0.055 * size, 0.05 * size)
        elif person.carried == "handbag":
            self._box(side * 1.5, person.waist + 0.12, 0.045 * size, 0.06 * size)
        elif person.carried == "suitcase":
            self._limb((side * 1.6, person.waist + 0.02), (side * 1.9, 0.75), 0.014, person.bag)
            self._box(side * 1.9, 0.86, 0.06 * size, 0.11 * size)

    def _backpack(self) -> None:
        person, size = self.person, self.person.bag_size
        offset = -self.heading * self.profile * person.shoulders * 0.95
        half = person.shoulders * (0.75 - 0.25 * self.profile) * size
        self._box(offset, person.head * 1.2 + 0.14, half, 0.13 * size)
        if not self.back:
            for side in (-1, 1):
                x = side * person.shoulders * self.narrow * 0.6
                self._limb((x, person.head * 1.1), (x, person.head * 1.1 + 0.2), 0.022, person.bag)

    def _box(self, x: float, y: float, half_width: float, half_height: float) -> None:
        corners = (*self._xy((x - half_width, y - half_height)), *self._xy((x + half_width, y + half_height)))
        self.draw.rounded_rectangle(corners, 0.02 * self.scale, self._colour(self.person.bag))

    def paint_obstacle(self) -> None:
        """Something in front of the person: a low wall or a post."""
        width, height = self.canvas.size
        colour = self.canvas.getpixel((int(self.rng.integers(width)), int(self.rng.integers(height))))
        if self.rng.uniform() < 0.5:
            box = (0.0, height * self.rng.uniform(0.7, 0.9), float(width), float(height))
        else:
            left = width * self.rng.uniform(0, 0.9)
            box = (left, 0.0, left + width * self.rng.uniform(0.1, 0.22), float(height))
        self.draw.rectangle(box, fill=colour)


def _pattern(material: Material, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where a garment shows its second colour; ``u`` (1, W) and ``v`` (H, 1) are in body heights."""
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
