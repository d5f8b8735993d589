"""Apply the training transforms of a run to whole batches of 8-bit images, on the device that trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from torchreid_vi.data.changes import Change, Sampler, Settings
from torchreid_vi.data.transforms import TRANSFORMS, one_by_one
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.modality import Modality, moved

_CHUNK = 8  # images that are normalised at a time on a CPU, few enough to stay in its cache


class Plan(NamedTuple):
    """All changes of a batch, of 8-bit images and of normalised ones."""

    on_bytes: list[Change]
    on_tensor: list[Change]

    def of(self, part: Tensor, number: int) -> Plan:
        """Return the plan of some of the batch's images, as :meth:`~torchreid_vi.data.changes.Change.of` does."""
        own = ((change.of(part, number) for change in changes) for changes in self)
        return Plan(*([change for change in changes if len(change.rows)] for changes in own))


class _Step(NamedTuple):
    sample: Sampler
    modalities: tuple[Modality, ...]
    view: int


class Augmentation:
    """The training transforms of a run.

    Args:
        names: Keys of :data:`~torchreid_vi.data.transforms.TRANSFORMS`.
        settings: Image size, normalisation and MAA's branches.
        second: Names for a second view of each visible image, which follows the first in the batch.

    Attributes:
        on_cpu: Whether 8-bit images have to be changed on the CPU, for a transform without a form for batches.

    Raises:
        InputError: For an unknown name, or a size that no image has.
    """

    def __init__(self, names: Sequence[str], settings: Settings, second: Sequence[str] = ()) -> None:
        self.names = [name.lower() for name in names], [name.lower() for name in second]
        for key, chosen in zip(("transforms", "second_view"), self.names, strict=True):
            for name in chosen:
                if name not in TRANSFORMS:
                    raise unknown_name(f"transform in data.{key}", name, TRANSFORMS)
        if settings.height < 1 or settings.width < 1:
            raise InputError(
                f"data.height {settings.height} and data.width {settings.width} must be at least 1"
            )
        self.settings, self.normalise = settings, Normalise(settings.norm_mean, settings.norm_std)
        self._steps: tuple[list[_Step], list[_Step]] = [], []
        self.on_cpu = False
        for view, chosen in enumerate(self.names):
            for name, transform in TRANSFORMS.items():
                if name in chosen:
                    built = transform.build(settings)
                    sample = built if transform.batched else one_by_one(built, transform.on_tensor)
                    self._steps[transform.on_tensor].append(_Step(sample, transform.modalities, view))
                    self.on_cpu |= not (transform.batched or transform.on_tensor)

    def described(self) -> list[str]:
        """Return lines that name the transforms of each modality, in the order in which they are used."""
        shown = [(side.name.lower(), side, self.names[0]) for side in Modality]
        if self.names[1]:
            shown.append(("second view of visible", Modality.VISIBLE, self.names[1]))
        used = sorted(TRANSFORMS.items(), key=lambda item: item[1].on_tensor)
        return [
            f"Augmentation, {what}: "
            + (", ".join(n for n, t in used if n in names and side in t.modalities) or "none")
            for what, side, names in shown
        ]

    def views(self, modality: Tensor) -> tuple[Tensor, Tensor]:
        """Return which image each view of a batch shows (V,) and whether it is that image's second view (V,).

        Args:
            modality: Modality of each image (B,).
        """
        number = 1 + ((modality == Modality.VISIBLE) & bool(self.names[1])).long()
        index = torch.arange(len(modality)).repeat_interleave(number)
        return index, torch.diff(index, prepend=index.new_tensor([-1])).eq(0).long()

    def plan(self, modality: Tensor, view: Tensor, generator: Generator) -> Plan:
        """Sample what becomes of a batch.

        Args:
            modality: Modality of each view (V,).
            view: 0 for the first view of an image, 1 for the second (V,).
            generator: On the CPU.
        """
        made = []
        for steps in self._steps:
            changes = []
            for step in steps:
                chosen = torch.isin(modality, torch.tensor(step.modalities)) & (view == step.view)
                places = chosen.nonzero()[:, 0]
                for change in step.sample(len(places), generator):
                    if len(change.rows):
                        changes.append(change._replace(rows=places[change.rows]))
            made.append(changes)
        return Plan(*made)

    def augment(self, images: Tensor, modality: Sequence[int], seed: int) -> Tensor:
        """Return images as they could be in a batch: changed and normalised, (B, 3, H, W).

        Args:
            images: (B, 3, H, W), uint8, of the size that the settings say; they are left as they are.
            modality: 0 for visible and 1 for infrared images (B,).
            seed: Random seed.
        """
        sides = torch.tensor([int(side) for side in modality])
        plan = self.plan(sides, torch.zeros_like(sides), Generator().manual_seed(seed))
        return self.change(self.normalise(self.change(images.clone(), plan.on_bytes)), plan.on_tensor)

    def change(self, images: Tensor, changes: Iterable[Change]) -> Tensor:
        """Apply changes to images (V, 3, H, W) in place, on their device."""
        for function, rows, numbers in changes:
            if images.is_cuda:
                images.index_copy_(0, rows, function(images.index_select(0, rows), numbers))
                continue
            for row, own in zip(rows.tolist(), numbers.split(1), strict=True):  # one image stays in the cache
                images[row] = function(images[row : row + 1], own)[0]
        return images


class Normalise:
    """Calling it with 8-bit images (B, 3, H, W) gives them as floats, less each channel's mean, over its deviation.

    Args:
        mean: Mean of each channel, of values from 0 to 1.
        std: Standard deviation of each channel.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._values = torch.tensor([mean, std], dtype=torch.float)[:, :, None, None]
        self._copies: dict[torch.device, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        mean, std = self._on(images.device)
        result = torch.empty(images.shape, device=images.device)
        size = max(1, len(images)) if images.is_cuda else _CHUNK
        for part, out in zip(images.split(size), result.split(size), strict=True):
            out.copy_(part).mul_(1 / (255 * std)).sub_(mean / std)
        return result

    def one_channel(self, images: Tensor, channel: int) -> Tensor:
        """Return normalised images (B, 3, H, W) as they were had one of their channels been in all three places."""
        mean, std = self._on(images.device)
        return (images[:, channel, None] * std[channel] + mean[channel] - mean) / std

    def undo(self, images: Tensor) -> Tensor:
        """Return normalised images (..., 3, H, W) as 8-bit ones."""
        mean, std = self._on(images.device)
        return (255 * (images * std + mean)).round_().clamp_(0, 255).to(torch.uint8)

    def _on(self, device: torch.device) -> Tensor:
        if device not in self._copies:
            self._copies[device] = moved(self._values, device)
        return self._copies[device]
