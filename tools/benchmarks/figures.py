"""What a benchmark measures: figures with their goals, and how they are timed."""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """One measured number.

    Attributes:
        name: what was measured.
        value: how much.
        unit: of the value.
        least, most: the goal, where there is one.
    """

    name: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None

    @property
    def goal(self) -> str:
        """The goal in words, and whether it is met."""
        if self.least is None and self.most is None:
            return ""
        met = (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )
        goal = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        return f"{goal}: {'met' if met else 'missed'}"


def in_turns(rounds: int, *actions: Callable[[], object]) -> list[list[float]]:
    """Seconds that actions take in turns, each ``rounds`` times after one that does not count."""
    seconds: list[list[float]] = [[] for _ in actions]
    for number in range(rounds + 1):
        for action, taken in zip(actions, seconds, strict=True):
            start = time.perf_counter()
            action()
            if number:
                taken.append(time.perf_counter() - start)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Median of the ratios of neighbours in time, so that a machine that slows down slows both."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def peak_mib() -> float:
    """The most memory that this process has held so far; not a number where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    # getrusage would also count what the process that started this one held.
    return (
        next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        / 1024
    )


def in_a_process_of_its_own(action: Callable[..., Any], *arguments: Any) -> Any:
    """What an action returns, so that its peak of memory is its alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(action, arguments)


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    import torch

    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
