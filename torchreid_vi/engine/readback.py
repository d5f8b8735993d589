"""Read the values of a training step without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from torchreid_vi import distributed
from torchreid_vi.errors import InputError

_NAMED = 2  # images of a batch that is not finite
_TOO_SMALL = ("Output size is too small", "can't be greater than actual input size")  # PyTorch's words
NONFINITE = "nonfinite"  # the value that says whether a step was kept from the weights


class Step(NamedTuple):
    """A step and what it computed.

    Attributes:
        number: Step of the epoch, from 1.
        files: Images of the batch.
        values: Values by name.
    """

    number: int
    files: list[str]
    values: dict[str, float]

    def fault(self) -> str:
        """Say what is not finite, and of which images."""
        wrong = [f"{name} is {value:.3g}" for name, value in self.values.items() if not math.isfinite(value)]
        paths = list(dict.fromkeys(self.files))  # one of several views is enough
        more = len(paths) * distributed.size() - _NAMED
        return (
            f"step {self.number}: {', '.join(wrong) or 'the gradient is not finite'}, for "
            f"{', '.join(paths[:_NAMED])}" + (f" and {more} more images" if more > 0 else "")
        )


class Readback:
    """Read the values of a step when the next one has been enqueued, so that the device never waits."""

    def __init__(self) -> None:
        self._pending: tuple[int, list[str], list[str], Tensor, torch.cuda.Event | None] | None = None

    def push(self, number: int, files: list[str], values: Mapping[str, Tensor | float]) -> Step | None:
        """Begin to copy the values of a step; return the step before, of which nothing is under way any more."""
        tensors = [torch.as_tensor(value).detach() for value in values.values()]
        device = next((tensor.device for tensor in tensors if tensor.is_cuda), torch.device("cpu"))
        stacked = torch.stack([tensor.to(device, torch.float32, non_blocking=True) for tensor in tensors])
        copied = stacked.to("cpu", non_blocking=True)  # pinned memory, from a GPU
        event = torch.cuda.Event() if stacked.is_cuda else None
        if event:
            event.record()
        before = self.pop()
        self._pending = number, files, list(values), copied, event
        return before

    def pop(self) -> Step | None:
        """Return the last step, once the device has computed it."""
        if self._pending is None:
            return None
        number, files, names, copied, event = self._pending
        self._pending = None
        if event:
            event.synchronize()
        return Step(number, files, dict(zip(names, copied.tolist(), strict=True)))


@contextmanager
def small_images_refused() -> Iterator[None]:
    """Turn what PyTorch raises for images that a model is too large for into a sentence."""
    try:
        yield
    except RuntimeError as error:
        if not any(said in str(error) for said in _TOO_SMALL):
            raise
        raise InputError(
            "the images are too small for this model: raise data.height and data.width"
        ) from error
