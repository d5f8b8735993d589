"""Loaders of training and test batches, which are changed as a whole on the device that trains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import Sampler

from torchreid_vi.data.augmentation import Augmentation, Normalise, Plan
from torchreid_vi.data.changes import Change
from torchreid_vi.data.source import Source
from torchreid_vi.errors import InputError
from torchreid_vi.modality import moved
from torchreid_vi.seeds import seed_of, seeded


class TestLoader:
    """Normalised batches of a dataset in its order: ``img`` (B, 3, H, W) on the device, all else on the CPU.

    Args:
        source: Source of the images.
        batch_size: B; the last batch may be smaller.
        normalise: Normalisation of 8-bit images.
        indices: Which images of the dataset; all when left out.
    """

    __test__ = False  # for pytest

    def __init__(
        self, source: Source, batch_size: int, normalise: Normalise, indices: Sequence[int] | None = None
    ) -> None:
        self.source, self.batch_size, self.normalise = source, batch_size, normalise
        self.dataset = source.dataset
        self.indices = range(len(self.dataset.data)) if indices is None else indices

    def only(self, indices: Sequence[int]) -> TestLoader:
        """Return a loader of some of the dataset's images."""
        return TestLoader(self.source, self.batch_size, self.normalise, indices)

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        def load(start: int, each: Any) -> tuple[dict[str, Any], list[Tensor]]:
            batch = self.source.labels(self.indices[start : start + self.batch_size])
            batch["img"] = moved(self.source.images(batch["impath"], each), self.source.device)
            return batch, [batch["img"]]

        for batch in self.source.ahead(load, range(0, len(self.indices), self.batch_size)):
            yield batch | {"img": self.normalise(batch["img"])}


class TrainLoader:
    """Training batches, which depend on the seed, the epoch and the step alone.

    Iterating gives one epoch: ``img`` (V, 3, H, W), changed and normalised, on the device, or with several views a
    list of such; all else on the CPU. V is B, or more where images have a second view, which follows the first.

    Args:
        source: Source of the images.
        sampler: Sampler of an epoch's images.
        batch_size: Images of a batch, of all processes together.
        places: Places in each batch of this process's images, B of them.
        augmentation: Changes and normalises images.
        seed: Random seed.
        views: Number of times that each image is changed.

    Attributes:
        batch_size: B.

    Raises:
        InputError: When an epoch has fewer images than a batch.
    """

    def __init__(
        self,
        source: Source,
        sampler: Sampler[int],
        batch_size: int,
        places: Sequence[int],
        augmentation: Augmentation,
        seed: int,
        views: int = 1,
    ) -> None:
        self.source, self.sampler, self.dataset = source, sampler, source.dataset
        self.total, self.places, self.batch_size = batch_size, torch.tensor(places), len(places)
        self.augmentation, self.seed, self.views = augmentation, seed, views
        self._epoch = self._step = 0
        if not len(self):
            raise InputError(
                f"{len(self.dataset)} training images fill no batch of {batch_size}: lower train.batch_size"
            )

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Begin the next iteration at a step of an epoch, both from 0; the one after it is an epoch later."""
        self._epoch, self._step = epoch, step

    def __len__(self) -> int:
        return len(self.sampler) // self.total  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        epoch, first = self._epoch, self._step
        self.set_epoch(epoch + 1)
        with seeded("order", self.seed, epoch):
            order = list(self.sampler)

        def load(step: int, each: Any) -> tuple[Any, list[Tensor]]:
            indices = order[step * self.total : (step + 1) * self.total]
            return self._load(indices, seed_of("batch", self.seed, epoch, step), each)

        for batch, images, plans in self.source.ahead(load, range(first, len(order) // self.total)):
            views = [self._changed(images, plan) for plan in plans]
            yield batch | {"img": views if len(views) > 1 else views[0]}

    def _load(self, indices: Sequence[int], seed: int, each: Any) -> tuple[Any, list[Tensor]]:
        """Read this process's part of a batch, and sample what becomes of the whole, as every process does."""
        modality = self.source.modality(indices)
        index, view = self.augmentation.views(modality)
        own = torch.isin(index, self.places).nonzero()[:, 0]
        batch = self.source.labels([indices[i] for i in index[own].tolist()])
        early = torch.device("cpu") if self.augmentation.on_cpu else self.source.device
        places, of = index[own].unique(return_inverse=True)  # an image is read once for two views
        paths = [self.dataset.data[indices[i]][0] for i in places.tolist()]
        images = moved(self.source.images(paths, each), early)
        images = images.index_select(0, moved(of, early)) if len(places) < len(of) else images
        generator, plans = Generator().manual_seed(seed), []
        for _ in range(self.views):
            plan = self.augmentation.plan(modality[index], view, generator).of(own, len(index))
            plans.append(
                Plan(_all_moved(plan.on_bytes, early), _all_moved(plan.on_tensor, self.source.device))
            )
        tensors = [part for plan in plans for changes in plan for change in changes for part in change[1:]]
        return (batch, images, plans), [tensor for tensor in (images, *tensors) if tensor.is_cuda]

    def _changed(self, images: Tensor, plan: Plan) -> Tensor:
        augmentation = self.augmentation
        images = images.clone() if self.views > 1 else images
        plain = moved(augmentation.change(images, plan.on_bytes), self.source.device)
        return augmentation.change(augmentation.normalise(plain), plan.on_tensor)


def _all_moved(changes: Iterable[Change], device: torch.device) -> list[Change]:
    return [
        Change(function, moved(rows, device), moved(numbers, device)) for function, rows, numbers in changes
    ]
