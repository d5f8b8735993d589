"""Measurements with their goals, and how they are timed."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Measurement(NamedTuple):
    """One measured number.

    Attributes:
        name: What was measured.
        value: The number.
        unit: Unit of the value.
        least, most: The goal, if there is one.
    """

    name: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None

    @property
    def goal(self) -> str:
        """Return the goal, and whether it is met."""
        if self.least is None and self.most is None:
            return ""
        met = (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )
        goal = f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"
        return f"{goal}: {'met' if met else 'missed'}"


def in_turns(rounds: int, *actions: Callable[[], object]) -> list[list[float]]:
    """Return the seconds of actions that take turns, each ``rounds`` times after a warm-up."""
    seconds: list[list[float]] = [[] for _ in actions]
    for number in range(rounds + 1):
        for action, taken in zip(actions, seconds, strict=True):
            start = time.perf_counter()
            action()
            if number:
                taken.append(time.perf_counter() - start)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the ratios of neighbours in time: a machine that slows down slows both."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def peak_mib() -> float:
    """Return the most memory that this process has held, NaN where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    # getrusage would also count the memory of the process that started this one.
    return (
        next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        / 1024
    )


def check_output(path: Path | None) -> None:
    """Make the folder of a file that will be written.

    Raises:
        InputError: If the file is a folder.
    """
    from torchreid_vi import InputError

    if path and path.is_dir():
        raise InputError(f"{path} is a folder: name a file in it")
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)


def machine() -> dict[str, Any]:
    """Return what the measurements depend on."""
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
