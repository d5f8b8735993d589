"""Reads the images of a dataset ahead of the step, by threads, and copies them to a GPU on a stream of their own.

There are no loading processes: Pillow decodes and NumPy copies outside Python's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from torchreid_vi.data.cache import ImageCache, open_cache
from torchreid_vi.data.datasets.base import VIDataset
from torchreid_vi.data.images import Decoder, Range
from torchreid_vi.modality import Modality

T = TypeVar("T")

_AHEAD = 2  # batches that wait for the step


class Source:
    """Reads the images of a dataset for batches on a device.

    Args:
        dataset: A torchreid dataset; its items are ``dataset.data``.
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
            paths: Paths of the images.
            each: ``map``, or the ``map`` of a thread pool.
        """
        pinned = self.device.type == "cuda"
        images = torch.empty(len(paths), 3, *self.size, dtype=torch.uint8, pin_memory=pinned)
        array, parts = images.numpy(), max(1, self.threads)

        def fill(part: int) -> None:
            if isinstance(self.read, ImageCache):
                share = slice(len(paths) * part // parts, len(paths) * (part + 1) // parts)
                self.read.into(array[share], paths[share])
                return
            for i in range(part, len(paths), parts):
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
            load: Called with a number and what :meth:`images` takes as ``each``. Returns a batch, and those of
                its tensors whose copy to the device has begun.
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
    """Return the one stream on which batches are copied to a GPU; each stream reuses its own memory alone."""
    return torch.cuda.Stream(device)


@dataclass(frozen=True)
class Reading:
    """Settings of how images are read, alike for every dataset of a run.

    Attributes:
        size: Height and width, in pixels.
        interpolation: A name from :data:`torchreid_vi.data.images.INTERPOLATIONS`.
        thermal: What is black and white in images of more than 8 bits.
        cache: Folder of decoded images.
        device: Where batches go.
        threads: Number of threads that read images.
    """

    size: tuple[int, int]
    interpolation: str
    thermal: Range | None
    cache: Path | None
    device: torch.device
    threads: int

    def source(self, dataset: Any, also: Sequence[str] = ()) -> Source:
        """Return the source of a dataset's images, cached if it is one of ours.

        Args:
            dataset: A torchreid dataset.
            also: Further sources, which the name of the cache shows.
        """
        if ours := isinstance(dataset, VIDataset):
            dataset.scale_by(self.thermal)
        read: Any = Decoder(*self.size, self.interpolation, self.thermal if ours else None)
        if self.cache and ours and dataset.data:
            name = "-".join([dataset.root.name, *also, dataset.mode, str(dataset.split_id)])
            read = open_cache(self.cache, name, (item[0] for item in dataset.data), read) or read
        return Source(dataset, read, self.size, self.device, self.threads)
