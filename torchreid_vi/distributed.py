"""Train one model in several processes, each with its share of a batch.

``torchrun`` starts the processes, on one machine or many. All of them draw the same epoch from the same seeds; each
loads and computes its share of every batch. The first one alone writes and prints. Without ``torchrun`` there is
one process, whose share is everything.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Lock, Thread
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from torchreid_vi import console
from torchreid_vi.errors import InputError

T = TypeVar("T")

# The others wait while the first process evaluates. That a process has died is noticed in other ways.
_PATIENCE = timedelta(hours=2)
_SILENCE = 5  # seconds
_checkpoint: list[Path] = []
_leaving = Lock()


def size() -> int:
    """Return the number of processes.

    Raises:
        InputError: When ``torchrun`` has started several and they are not :func:`connected`.
    """
    if dist.is_initialized():
        return dist.get_world_size()
    if started := _started() - 1:
        raise InputError(
            f"torchrun has started {started + 1} processes that do not know each other: start tools/train.py with "
            "it, or train within torchreid_vi.distributed.connected()"
        )
    return 1


def rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextlib.contextmanager
def connected() -> Iterator[None]:
    """Connect this process to the others that ``torchrun`` has started, each on a GPU of its own.

    What another process than the first prints is dropped.

    Raises:
        InputError: When there are fewer GPUs than processes, or one of the processes has died.
    """
    if _started() == 1:
        yield
        return
    gpus = torch.cuda.device_count()
    if gpus:
        if int(os.environ["LOCAL_WORLD_SIZE"]) > gpus:
            if _local_rank():  # the first one says it, and torchrun then ends this one
                time.sleep(_SILENCE)
            raise InputError(
                f"{os.environ['LOCAL_WORLD_SIZE']} processes of this machine have {gpus} GPU{'s' * (gpus > 1)}: "
                f"start torchrun with --nproc-per-node {gpus}"
            )
        torch.cuda.set_device(_local_rank())
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=_PATIENCE)
    _watch_for_sigterm()
    with contextlib.ExitStack() as stack:
        if rank():
            nowhere = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(console.muted())
        try:
            yield
        except InputError:
            _checkpoint.clear()  # what is wrong is no death of a process
            if rank():  # the first one says what all of them find, and torchrun then ends this one
                time.sleep(_SILENCE)
            raise
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error):
                raise
            _leave(str(error))
    _meet()
    dist.destroy_process_group()


@contextlib.contextmanager
def continues_from(checkpoint: Path) -> Iterator[None]:
    """Name the checkpoint to resume from in the message about a process that has died."""
    _checkpoint[:] = [checkpoint]
    yield
    _checkpoint.clear()  # not after an error, which may be such a death: `connected` says it


@contextlib.contextmanager
def first_here_first() -> Iterator[None]:
    """Run the block in the first process of each machine, then in the others, which find what it made."""
    if size() == 1:
        yield
        return
    if _local_rank():
        _meet()
    yield
    if not _local_rank():
        _meet()


def from_first(make: Callable[[], T]) -> T:
    """Call ``make`` in the first process alone, and return its result in all of them."""
    several = size() > 1
    box: list[Any] = [None if rank() else make()]
    if several:
        dist.broadcast_object_list(box, device=torch.device("cpu"))
    found: T = box[0]
    return found


def gather(*shares: Tensor) -> tuple[Tensor, ...]:
    """Gather the whole batch from every process's share of it, in the order of the processes.

    Each process is expected to compute the same loss from them, and the gradients of its parameters to be averaged
    over the processes, as ``DistributedDataParallel`` does: the average is then the gradient of the whole batch.

    Args:
        *shares: (B, ...), of the same shape in every process.

    Returns:
        For each a tensor (number of processes × B, ...).
    """
    return shares if size() == 1 else _Gather.apply(*shares)  # type: ignore[no-any-return]


def share(whole: Tensor) -> Tensor:
    """Return this process's rows of what :func:`gather` returns."""
    return whole.chunk(size())[rank()]


def collect(rows: Tensor, number: int) -> Tensor:
    """Collect rows that were dealt to the processes one by one.

    Args:
        rows: (⌈number / processes⌉, ...), on the CPU; what is dealt beyond ``number`` is dropped.
        number: Number of rows altogether.
    """
    if size() == 1:
        return rows[:number]
    return torch.stack(_all(rows), 1).flatten(0, 1)[:number]


def agree(model: nn.Module) -> None:
    """Copy the buffers of the first process's model to the others, each of which has seen other images."""
    if size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *shares: Tensor) -> tuple[Tensor, ...]:
        whole = tuple(torch.cat(_all(tensor)) for tensor in shares)
        ctx.mark_non_differentiable(*(tensor for tensor in whole if not tensor.is_floating_point()))
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        # An output that no loss reads gets a zero gradient, not None: every parameter has one to average.
        return tuple(size() * share(gradient) for gradient in gradients)


def _all(tensor: Tensor) -> list[Tensor]:
    tensor = tensor.contiguous()
    found = [torch.empty_like(tensor) for _ in range(size())]
    dist.all_gather(found, tensor)
    return found


def _started() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _local_rank() -> int:
    return int(os.environ["LOCAL_RANK"])


def _meet() -> None:
    dist.all_reduce(torch.zeros(1))


def _watch_for_sigterm() -> None:
    """End the process on SIGTERM, which ``torchrun`` sends when another process has died.

    A thread does, since the main one may be waiting for the dead process outside of Python.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(writable)

    def leave_at_sigterm() -> None:
        while os.read(readable, 1) != bytes([signal.SIGTERM]):
            pass
        _leave("")

    Thread(target=leave_at_sigterm, daemon=True).start()


def _leave(reason: str) -> None:
    """End this process, most often because another one has ended."""
    _leaving.acquire()  # for good: it is said once
    if _checkpoint:
        remedy = (
            f"the same command goes on from {_checkpoint[0]}"
            if _checkpoint[0].is_file()
            else "it has no checkpoint yet, start it again"
        )
        console.complain(f"a process of this run has ended: {remedy}")
    if reason:
        print(f"process {rank()}: {' '.join(reason.split())[:300]}", file=sys.stderr, flush=True)
    os._exit(2)
