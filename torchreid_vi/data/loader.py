"""PyTorch's loader, whose processes know nothing of signals."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from torchreid_vi import stopping


class Loader(DataLoader[Any]):
    """Its loading processes leave SIGINT and SIGTERM to this one: a terminal or a queue sends them to all."""

    def __iter__(self) -> Any:
        with stopping.blocked():
            return super().__iter__()
