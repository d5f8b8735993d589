"""Render a person in front of a camera: pose, body, garments, what they carry, then light and noise."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from torchreid_vi.data.synthetic.canvas import Canvas
from torchreid_vi.data.synthetic.person import Material, Person
from torchreid_vi.data.synthetic.scene import Scene
from torchreid_vi.modality import Modality

_SUPERSAMPLING = 2
_BARE_LEGS = ("shorts", "skirt")
_SLEEVELESS = ("dress", "vest")


def render(person: Person, scene: Scene, rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Render a picture of ``person`` (RGB, ``width`` × ``height`` pixels) under the camera of ``scene``."""
    painter = _Painter(person, scene, rng, width * _SUPERSAMPLING, height * _SUPERSAMPLING)
    painter.person_in_pose()
    if rng.uniform() < 0.15:
        painter.obstacle()
    picture = painter.image.reduce(_SUPERSAMPLING)
    if rng.uniform() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9) * height / 160))
    return _expose(picture, scene, rng)


def _expose(picture: Image.Image, scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Apply the camera's light, contrast, vignette and noise, with the variation of one moment."""
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


class _Painter(Canvas):
    """Paints one pose of one person."""

    def person_in_pose(self) -> None:
        """Paint the person from back to front."""
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
            self.limb(joints[0], joints[1], thigh, lower)
            self.limb(joints[1], foot, thigh * 0.75, lower)
            toe = 0.045 * self.profile * self.heading
            self.ellipse(foot[0] + toe / 2, foot_y - 0.012, 0.028 + abs(toe) / 2, 0.017, person.shoes)
            if person.bottom_kind == "shorts" and person.top_kind != "dress":
                hem = person.waist + (1 - person.waist) * person.hem
                share = min((hem - person.waist) / (knee - person.waist), 1.0)
                end = (joints[0][0] + (joints[1][0] - joints[0][0]) * share, hem)
                self.limb(joints[0], end, thigh * 1.25, person.bottom)
        if person.bottom_kind == "skirt" and person.top_kind != "dress":
            self._flare(person.waist - 0.04, person.bottom)

    def _flare(self, start: float, material: Material) -> None:
        """A skirt, or the lower part of a coat or dress, from ``start`` down to the hem."""
        person = self.person
        hem, hip = person.waist + (1 - person.waist) * person.hem, person.hips * self.narrow
        wide = hip * 1.15 + 0.02 + abs(self.swing) * 0.4
        self.shape([(-hip, start), (hip, start), (wide, hem), (-wide, hem)], material)

    def _torso(self) -> None:
        person = self.person
        shoulder, hip = person.shoulders * self.narrow, person.hips * self.narrow
        neck = person.head * 1.08
        self.shape(
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
        self.shape(outline, person.top)
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
            self.shape(opening, person.shoes)

    def _arm(self, side: int) -> None:
        person = self.person
        shoulder = (side * person.shoulders * self.narrow * 0.95, person.head * 1.08 + 0.05)
        forward = -side * self.swing * (0.2 + self.profile) * self.heading
        elbow = (shoulder[0] + side * 0.015 + forward * 0.5, shoulder[1] + 0.155)
        hand = (elbow[0] + forward * 0.8, elbow[1] + 0.15)
        bare = person.skin if person.top_kind in _SLEEVELESS else person.top
        self.limb(shoulder, elbow, person.limb * 1.15, bare)
        long_sleeves = person.top_kind in ("shirt", "jacket", "coat")
        self.limb(elbow, hand, person.limb, person.top if long_sleeves else person.skin)
        self.ellipse(*hand, person.limb * 0.45, person.limb * 0.5, person.skin)

    def _head(self) -> None:
        person = self.person
        ry = person.head / 2
        rx = ry * 0.74
        x, y = self.heading * self.profile * 0.012, ry
        if person.hair_style == "bun":
            self.ellipse(x - self.heading * self.profile * rx, y - ry * 0.85, rx * 0.5, ry * 0.4, person.hair)
        self.ellipse(x, y, rx, ry, person.skin)
        if person.hair_style == "bald":
            return
        if self.back:
            self.ellipse(x, y, rx, ry * 0.85, person.hair)
        box = (*self.xy((x - rx * 1.08, y - ry * 1.08)), *self.xy((x + rx * 1.08, y + ry * 0.9)))
        self.draw.pieslice(box, 180, 360, fill=self.colour(person.hair))
        if person.hair_style == "hat":
            brim = rx * 1.6
            self.shape([(x - rx, 0), (x + rx, 0), (x + rx * 1.1, ry), (x - rx * 1.1, ry)], person.shoes)
            self.limb((x - brim, ry), (x + brim, ry), 0.018, person.shoes)

    def _long_hair(self) -> None:
        if self.person.hair_style == "long":
            ry = self.person.head / 2
            x = -self.heading * self.profile * 0.008
            self.ellipse(x, ry * 1.75, ry * 0.89, ry * 1.35, self.person.hair)

    def _carried(self) -> None:
        person, size = self.person, self.person.bag_size
        side = self.heading * person.hips * self.narrow
        if person.carried == "backpack":
            self._backpack()
        elif person.carried == "shoulder bag":
            neck = person.head * 1.2
            self.limb((-side * 0.9, neck), (side * 1.25, person.waist), 0.018, person.bag)
            self._box(side * 1.25, person.waist + 0.03, 0.055 * size, 0.05 * size)
        elif person.carried == "handbag":
            self._box(side * 1.5, person.waist + 0.12, 0.045 * size, 0.06 * size)
        elif person.carried == "suitcase":
            self.limb((side * 1.6, person.waist + 0.02), (side * 1.9, 0.75), 0.014, person.bag)
            self._box(side * 1.9, 0.86, 0.06 * size, 0.11 * size)

    def _backpack(self) -> None:
        person, size = self.person, self.person.bag_size
        offset = -self.heading * self.profile * person.shoulders * 0.95
        half = person.shoulders * (0.75 - 0.25 * self.profile) * size
        self._box(offset, person.head * 1.2 + 0.14, half, 0.13 * size)
        if not self.back:
            for side in (-1, 1):
                x = side * person.shoulders * self.narrow * 0.6
                self.limb((x, person.head * 1.1), (x, person.head * 1.1 + 0.2), 0.022, person.bag)

    def _box(self, x: float, y: float, half_width: float, half_height: float) -> None:
        corners = (*self.xy((x - half_width, y - half_height)), *self.xy((x + half_width, y + half_height)))
        self.draw.rounded_rectangle(corners, 0.02 * self.scale, self.colour(self.person.bag))
