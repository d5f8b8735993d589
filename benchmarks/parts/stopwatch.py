"""A stopwatch for steps on a device.

It marks every few steps on the device and reads the marks when all steps are done, so nothing waits for a GPU.
"""

from __future__ import annotations

import gc
import io
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

from parts.measurement import peak_mib
from torchreid_vi import console

BLOCKS = 5  # that count, after one that warms up


class Speed(NamedTuple):
    """Speed of a step.

    Attributes:
        images: Images of a step.
        seconds: Seconds of a step.
        memory: Peak memory in MiB: what PyTorch has on a GPU, all of the process on a CPU.
    """

    images: int
    seconds: float
    memory: float

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds


class Stopwatch:
    """Times blocks of steps on a device.

    Args:
        device: Where the steps run.
        block: Steps of a block.
    """

    def __init__(self, device: torch.device, block: int) -> None:
        self.device, self.block = device, block
        self.steps, self.marks = 0, list[Any]()
        gc.collect()

    def start_step(self) -> None:
        """Note that a step begins."""
        if self.steps % self.block == 0:
            if self.steps == self.block:
                self._forget_peak()
            self.marks.append(self._mark())
        self.steps += 1

    def speed(self, images: int) -> Speed:
        """Return the median of the blocks but the first.

        Args:
            images: Images of a step.
        """
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            memory = torch.cuda.max_memory_allocated() / 2**20
            seconds = [a.elapsed_time(b) / 1000 for a, b in zip(self.marks[1:], self.marks[2:], strict=False)]
        else:
            memory = peak_mib()
            seconds = [b - a for a, b in zip(self.marks[1:], self.marks[2:], strict=False)]
        return Speed(images, statistics.median(seconds) / self.block, memory)

    def _mark(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _forget_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            with suppress(OSError):  # of a system without it the peak is that of all steps so far
                Path("/proc/self/clear_refs").write_text("5")


def number_of_steps(block: int) -> int:
    """Return how many steps a stopwatch needs: a block to warm up, those that count, and one that ends the last."""
    return (1 + BLOCKS) * block + 1


@contextmanager
def quietly() -> Iterator[None]:
    """Hide the log, and what torchreid prints, until the block exits."""
    with console.muted(), redirect_stdout(io.StringIO()):
        yield


# The bare device
