"""Loading and augmenting training images: MCJA's transforms at 384 × 192, from files of 120 × 290."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.figures import Figure

BATCH, STEP = 128, 0.06  # images, and seconds of the imagined step on a GPU
PUBLISHED = 130  # img/s of the published pipeline, which changes images one by one, on a core of this kind


def run(args: Namespace) -> list[Figure]:
    """Images/s of one core, one by one and in batches, from files and from the cache; waits for two processes."""
    from torchreid_vi.data.synthetic import draw_dataset

    with tempfile.TemporaryDirectory() as root, contextlib.redirect_stdout(io.StringIO()):
        draw_dataset(root, ids=60, images=3 if args.quick else 12, size=(120, 290), folder="vi_synthetic")
        with _one_core():
            start = time.perf_counter()
            manager = _manager(root, augment="batch", cache="cache")  # builds it
            building = time.perf_counter() - start
            number = len(manager.train_loader.dataset)
            tested = sum(
                len(loader.dataset) for both in manager.test_loader.values() for loader in both.values()
            )
            batched = _rate(manager.train_loader)
            plain = _rate(_manager(root).train_loader)
            cached = _rate(_manager(root, cache="cache").train_loader)
        building *= number / (number + tested)  # the training images' share
        first = number / (building + number / batched)
        waited, steps = _waits(_manager(root, augment="batch", cache="cache", workers=2).train_loader)
    return [
        Figure("one by one, from files", plain, "img/s"),
        Figure("one by one, from the cache", cached, "img/s"),
        Figure("in batches, from the cache", batched, "img/s", least=10 * PUBLISHED),
        Figure("in batches, first epoch, building the cache", first, "img/s", least=3 * PUBLISHED),
        Figure("in batches, to one by one from files", batched / plain, "×"),
        Figure(f"wait in {steps} steps of 60 ms, two processes", 100 * waited, "% of a step", most=1),
    ]


def _manager(root: str, **options: Any) -> Any:
    from torchreid_vi.data import VIDataManager

    options = {"workers": 0} | options
    names = ["maa", "random_flip", "pad_crop_grey", "random_erase_zero"]
    settings = {
        "height": 384,
        "width": 192,
        "batch_size_train": BATCH,
        "train_sampler": "ModalityPairSampler",
    }
    return VIDataManager("vi_synthetic", root=root, transforms=names, use_gpu=False, **settings, **options)


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Computes on one core, as far as the system lets a process choose."""
    threads, choose = torch.get_num_threads(), getattr(os, "sched_setaffinity", None)
    cores = os.sched_getaffinity(0) if choose else set()
    torch.set_num_threads(1)
    if choose:
        choose(0, {min(cores)})
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if choose:
            choose(0, cores)


def _rate(loader: Any) -> float:
    """Images/s of an epoch after another, which does not count."""
    for _ in loader:
        pass
    start = time.perf_counter()
    images = sum(len(batch["pid"]) for batch in loader)
    return images / (time.perf_counter() - start)


def _waits(loader: Any) -> tuple[float, int]:
    """How long steps that leave the processor alone wait for their batches, in steps, and their number.

    What the GPU does in training, the second part of the augmentation, is left out here.
    """
    waited, steps = 0.0, 0
    batches = loader.sent()
    next(batches)  # the processes have started
    while True:
        time.sleep(STEP)
        start = time.perf_counter()
        if next(batches, None) is None:
            return waited / STEP / max(steps, 1), steps
        waited, steps = waited + time.perf_counter() - start, steps + 1
