"""PyTorch's loader, whose processes know nothing of signals."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader, Dataset

from torchreid_vi import processes, stopping


class Loader(DataLoader[Any]):
    """Its loading processes leave SIGINT and SIGTERM to this one: a terminal or a queue sends them to all.

    Args:
        dataset: what to load.
        **kwargs: those of PyTorch's loader.
    """

    def __init__(self, dataset: Dataset[Any], **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs, worker_init_fn=stopping.obey_parent)

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Begin the next iteration at a step of an epoch, both from 0; the generators' state decides the epoch."""
        self.sampler.skip = step  # type: ignore[attr-defined]

    def __iter__(self) -> Any:
        with stopping.blocked():
            batches = super().__iter__()
        processes.watch(getattr(batches, "_workers", ()))
        return batches
