"""Batches of 8-bit images, augmented as a whole: in the loading processes, then on the device that trains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info

from torchreid_vi.data.batch_transforms import BATCH_TRANSFORMS, BatchTransform
from torchreid_vi.data.cache import ImageCache
from torchreid_vi.data.images import resizer
from torchreid_vi.data.loader import Loader
from torchreid_vi.data.transforms import TRANSFORMS, Settings, check_names
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Modality


class _Step(NamedTuple):
    """A transform with the modalities and the view that it is for."""

    transform: BatchTransform
    modalities: tuple[Modality, ...]
    view: int

    def __call__(self, images: Tensor, modality: Tensor, view: Tensor, generator: Generator) -> None:
        chosen = torch.isin(modality, torch.tensor(self.modalities)) & (view == self.view)
        self.transform(images, chosen.nonzero()[:, 0].tolist(), generator)


class BatchAugment:
    """The training transforms of a run for whole batches, in two parts.

    The first works on 8-bit images and is for the loading processes; the second normalises and does the rest,
    on the device that trains.

    Args:
        names: keys of :data:`~torchreid_vi.data.batch_transforms.BATCH_TRANSFORMS`.
        settings: image size, normalisation and MAA's branches.
        second: those of a second view of each visible image, which follows the first in the batch.

    Raises:
        InputError: for an unknown name, or one that changes images one by one only.
    """

    def __init__(self, names: Sequence[str], settings: Settings, second: Sequence[str] = ()) -> None:
        both = check_names(names, settings, second)
        for name in (*both[0], *both[1]):
            if name not in BATCH_TRANSFORMS:
                raise InputError(f"transform {name} has no form for batches: set data.augment to image")
        self.names, self.second, self.settings = *both, settings
        self.on_bytes, self.on_tensor = (
            [
                _Step(BATCH_TRANSFORMS[name](settings), step.modalities, view)
                for view, chosen in enumerate(both)
                for name, step in TRANSFORMS.items()
                if name in chosen and step.on_tensor is on_tensor
            ]
            for on_tensor in (False, True)
        )
        std, mean = (torch.tensor(v)[:, None, None] for v in (settings.norm_std, settings.norm_mean))
        self.scale, self.shift = 1 / (255 * std), -mean / std

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchAugment, (self.names, self.settings, self.second)  # loading processes build it anew

    def views(self, modality: Tensor) -> tuple[Tensor, Tensor]:
        """Which of a batch's images (B,) each view shows (V,), and whether it is a second view of it (V,)."""
        number = 1 + ((modality == Modality.VISIBLE) & bool(self.second)).long()
        index = torch.arange(len(modality)).repeat_interleave(number)
        return index, torch.diff(index, prepend=index.new_tensor([-1])).eq(0).long()

    def change(self, images: Tensor, modality: Tensor, view: Tensor, seed: int) -> Tensor:
        """The first part.

        Args:
            images: (V, 3, H, W), 8 bits; they are changed.
            modality: (V,).
            view: 0 for the first view of an image, 1 for the second (V,).
            seed: of all that is random.
        """
        generator = Generator().manual_seed(seed)
        for step in self.on_bytes:
            step(images, modality, view, generator)
        return images

    def finish(self, images: Tensor, modality: Tensor, view: Tensor, seed: int) -> Tensor:
        """The second part, with a seed of its own: normalised (V, 3, H, W), on the device of ``images``."""
        generator = Generator().manual_seed(seed)
        result = torch.empty(images.shape, device=images.device)
        scale, shift = self.scale.to(images.device), self.shift.to(images.device)
        size = len(images) if images.is_cuda else 1  # one image stays in the processor's cache
        for part, out in zip(images.split(size), result.split(size), strict=True):
            out.copy_(part).mul_(scale).add_(shift)
        for step in self.on_tensor:
            step(result, modality, view, generator)
        return result


class BatchDataset(Dataset[Any]):
    """A dataset indexed by a list of (index, seed), the draws of a batch, that gives the batch.

    Its images are under ``img``, or their place in ``memory`` when a loading process has put them there.

    Args:
        dataset: a :class:`~torchreid_vi.data.datasets.VIDataset`.
        augment: of which the first part is done here.
        height, width: of the images, in pixels.
        k: number of times that each image is changed.

    Attributes:
        memory: shared by all processes (loading processes, batches in flight of each, k, V, 3, H, W), so that
            a batch costs no fresh memory; none but in loading processes.
    """

    def __init__(self, dataset: Any, augment: BatchAugment, height: int, width: int, k: int = 1) -> None:
        self.augment, self.k = augment, k
        self.size = [height, width]
        self.resize = resizer(height, width, augment.settings.interpolation)
        self.memory: Tensor | None = None
        self.batches = 0  # that this process has loaded
        self.dataset = dataset.with_items(dataset.data, self._bytes)
        if isinstance(dataset.image, ImageCache):
            self.dataset.image = dataset.image.array

    def _bytes(self, image: Image.Image | np.ndarray) -> Tensor:
        array = image if isinstance(image, np.ndarray) else np.array(self.resize(image))
        return torch.from_numpy(array).permute(2, 0, 1)

    def __getitems__(self, draws: list[tuple[int, int]]) -> dict[str, Any]:
        items = [self.dataset[index] for index, _ in draws]
        plain = [item.pop("img") for item in items]
        batch = default_collate(items)
        index, view = self.augment.views(batch["modality"])
        if len(index) > len(draws):
            batch = {key: _taken(values, index) for key, values in batch.items()}
        generator = Generator().manual_seed(draws[0][1])
        seeds = torch.randint(2**31, (self.k, 2), generator=generator).tolist()  # of either part
        images, place = self._room(len(index))
        torch.stack([plain[i] for i in index.tolist()], out=images[0])
        images[1:] = images[0]
        for each, (seed, _) in zip(images, seeds, strict=True):
            self.augment.change(each, batch["modality"], view, seed)
        return batch | {"img": place or images, "view": view, "seed": [seed for _, seed in seeds]}

    def _room(self, number: int) -> tuple[Tensor, tuple[int, ...]]:
        """Where so many images (k, V, 3, H, W) of the next batch go, and where in ``memory`` that is, if it is."""
        worker = get_worker_info()
        if worker is None or self.memory is None:
            return torch.empty(self.k, number, 3, *self.size, dtype=torch.uint8), ()
        place = worker.id, self.batches % self.memory.shape[1], number
        self.batches += 1
        return _at(self.memory, place), place

    def __len__(self) -> int:
        return len(self.dataset)


def _at(memory: Tensor, place: tuple[int, ...]) -> Tensor:
    worker, turn, number = place
    return memory[worker, turn, :, :number]


def _taken(values: Any, index: Tensor) -> Any:
    return values[index] if isinstance(values, Tensor) else [values[i] for i in index.tolist()]


class BatchLoader(Loader):
    """Loads the batches of a :class:`BatchDataset` and does the second part of their augmentation.

    Args:
        dataset: what to load.
        device: where to.
        **kwargs: those of PyTorch's loader.
    """

    dataset: BatchDataset

    def __init__(self, dataset: BatchDataset, device: torch.device, **kwargs: Any) -> None:
        super().__init__(dataset, collate_fn=_by_value, **kwargs | {"pin_memory": False})
        self.device = device

    def _memory(self) -> Tensor:
        """Room for the batches of one iteration."""
        rows = (self.batch_size or 1) * (2 if self.dataset.augment.second else 1)
        in_flight = (self.prefetch_factor or 0) + 2  # of each process: under way, taken ahead, in use
        shape = self.num_workers, in_flight, self.dataset.k, rows, 3, *self.dataset.size
        try:
            return torch.empty(shape, dtype=torch.uint8).share_memory_()
        except RuntimeError as error:
            raise InputError(
                f"no {math.prod(shape) >> 20} MiB of shared memory for {self.num_workers} loading processes: "
                "lower data.workers, or give more (docker run --shm-size)"
            ) from error

    def sent(self) -> Iterator[dict[str, Any]]:
        """The batches as the loading processes send them: a thread takes each while the one before it is used.

        Their images (k, V, 3, H, W), of 8 bits, stay until the next batch is asked for.
        """
        if not self.num_workers:
            yield from super().__iter__()
            return
        memory = self._memory()
        self.dataset.memory = memory  # which the processes that are started now get
        batches = super().__iter__()
        self.dataset.memory = None
        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = thread.submit(next, batches, None)
                yield batch | {"img": _at(memory, batch["img"]).numpy()}

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        for sent in self.sent():
            batch = {
                key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
                for key, value in sent.items()
            }
            view, seeds = batch.pop("view"), batch.pop("seed")
            plain = batch["img"]
            if self.device.type == "cuda":
                plain = plain.pin_memory().to(self.device, non_blocking=True)
            images = [
                self.dataset.augment.finish(part, batch["modality"], view, seed)
                for part, seed in zip(plain, seeds, strict=True)
            ]
            yield batch | {"img": images if len(images) > 1 else images[0]}


def _by_value(batch: Any) -> dict[str, Any]:
    """A batch whose tensors are arrays: those go from process to process faster, where they are small."""
    return {key: value.numpy() if isinstance(value, Tensor) else value for key, value in batch.items()}
