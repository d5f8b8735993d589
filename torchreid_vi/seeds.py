"""Seeds: everything random in a step derives from the run's seed, the epoch and the step."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from torchreid_vi import distributed


def seed_of(purpose: str, *numbers: int) -> int:
    """Return 32 bits that other numbers, or another purpose, give independently.

    >>> seed_of("step", 1, 0) != seed_of("step", 1) != seed_of("batch", 1)
    True
    """
    digest = hashlib.sha256(repr((purpose, *map(int, numbers))).encode()).digest()
    return int.from_bytes(digest[:4])


def seed_everything(seed: int, epoch: int = -1, step: int = 0) -> None:
    """Seed the generators of Python, NumPy and PyTorch for one step of a run.

    Args:
        seed: Seed of the run.
        epoch: Epoch, from 0; -1 for what comes before the first one, such as random weights.
        step: Step of the epoch, from 0.
    """
    state = seed_of("step", seed, epoch, step)
    random.seed(state)
    np.random.seed(state)
    torch.manual_seed(state)
    if distributed.rank():  # the CPU's random numbers are for all processes; each GPU drops what it will
        torch.cuda.manual_seed(state + distributed.rank())


@contextmanager
def seeded(purpose: str, *numbers: int) -> Iterator[None]:
    """Seed the CPU's generators of Python, NumPy and PyTorch within the block, and leave them as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    state = seed_of(purpose, *numbers)
    random.seed(state)
    np.random.seed(state)
    torch.default_generator.manual_seed(state)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
