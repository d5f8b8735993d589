"""Loads batches ahead of the step: threads read the images, and a stream of its own copies them to a GPU.

There are no loading processes. Pillow decodes and NumPy copies outside Python's lock, and images are changed in
whole batches on the device that trains.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Sampler

from torchreid_vi.data.augmentation import Augmentation, Change, Normalise, Plan
from torchreid_vi.modality import Modality, moved
from torchreid_vi.seeds import seed_of, seeded

T = TypeVar("T")

_AHEAD = 2  # batches that wait for the step


class Source:
    """Reads the images of a dataset for batches on a device.

    Args:
        dataset: Of torchreid's kind; its items are ``dataset.data``.
        read: Returns the image (3, H, W) of a path, uint8.
        size: Height and width of the images, in pixels.
        device: Where batches go.
        threads: Number of threads that read images; with 0 they are read when a batch is asked for.
    """

    def __init__(
        self,
        dataset: Any,
        read: Callable[[str], np.ndarray],
        size: tuple[int, int],
        device: torch.device,
        threads: int,
    ) -> None:
        self.dataset, self.read, self.size = dataset, read, size
        self.device, self.threads = device, threads

    def of(self, dataset: Any) -> Source:
        """Return the source of other images of the same kind, such as a part of the dataset."""
        return Source(dataset, self.read, self.size, self.device, self.threads)

    def labels(self, indices: Sequence[int]) -> dict[str, Any]:
        """Return a batch without its images: ``pid``, ``camid``, ``dsetid``, ``modality`` (B,) and ``impath``."""
        paths, pids, camids, dsetids = zip(*(self.dataset.data[i] for i in indices), strict=True)
        numbers = {"pid": pids, "camid": camids, "dsetid": dsetids}
        tensors = {key: torch.tensor(values) for key, values in numbers.items()}
        return tensors | {"modality": self.modality(indices), "impath": list(paths)}

    def modality(self, indices: Sequence[int]) -> Tensor:
        """Return the modality of some images (B,); torchreid's own datasets are visible."""
        of = getattr(self.dataset, "modality", lambda item: Modality.VISIBLE)
        return torch.tensor([int(of(self.dataset.data[i])) for i in indices])

    def images(self, paths: Sequence[str], each: Callable[..., Iterable[Any]]) -> Tensor:
        """Return images (B, 3, H, W), uint8, on the CPU; in pinned memory if they go to a GPU.

        Args:
            paths: Of the images.
            each: ``map``, or that of some threads.
        """
        pinned = self.device.type == "cuda"
        images = torch.empty(len(paths), 3, *self.size, dtype=torch.uint8, pin_memory=pinned)
        array, parts = images.numpy(), max(1, self.threads)

        def fill(first: int) -> None:
            for i in range(first, len(paths), parts):
                array[i] = self.read(paths[i])

        list(each(fill, range(parts)))
        return images

    def ahead(
        self,
        load: Callable[[int, Callable[..., Iterable[Any]]], tuple[T, Sequence[Tensor]]],
        what: Iterable[int],
    ) -> Iterator[T]:
        """Give what ``load`` returns for each number, in order; a thread loads a little ahead.

        Args:
            load: Called with a number and what :meth:`images` takes as ``each``. Returns a batch, and its tensors
                of which it has begun a copy to the device.
            what: Numbers.
        """
        stream = _copying(self.device) if self.device.type == "cuda" else None

        def begin(number: int, each: Callable[..., Iterable[Any]]) -> tuple[T, Sequence[Tensor], Any]:
            with torch.cuda.stream(stream) if stream else nullcontext():
                return *load(number, each), stream and stream.record_event()

        def arrived(batch: T, tensors: Sequence[Tensor], event: Any) -> T:
            if event:
                current = torch.cuda.current_stream(self.device)
                current.wait_event(event)
                for tensor in tensors:
                    tensor.record_stream(current)
            return batch

        def use() -> None:
            if stream:  # a new thread is on the first GPU
                torch.cuda.set_device(self.device)

        if not self.threads:
            yield from (arrived(*begin(number, map)) for number in what)
            return
        readers = ThreadPoolExecutor(self.threads)
        thread = ThreadPoolExecutor(1, initializer=use)
        coming: deque[Future[Any]] = deque()
        try:
            for number in what:
                coming.append(thread.submit(begin, number, readers.map))
                if len(coming) > _AHEAD:
                    yield arrived(*coming.popleft().result())
            while coming:
                yield arrived(*coming.popleft().result())
        finally:
            thread.shutdown(cancel_futures=True)
            readers.shutdown()


@cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    """Return the stream on which batches are copied to a GPU; memory that another frees is not for it."""
    return torch.cuda.Stream(device)


class TestLoader:
    """Normalised batches of a dataset in its order: ``img`` (B, 3, H, W) on the device, all else on the CPU.

    Args:
        source: Of the images.
        batch_size: B; the last batch may be smaller.
        normalise: Of 8-bit images.
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
        source: Of the images.
        sampler: Of the images of an epoch.
        batch_size: Images of a batch, of all processes together.
        places: Those in each batch that are for this process, B of them.
        augmentation: Changes and normalises images.
        seed: Of all that is random.
        views: Number of times that each image is changed.

    Attributes:
        batch_size: B.
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
