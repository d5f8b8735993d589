"""Losses on a batch: ``loss(inputs (B, …), targets …)`` → a scalar tensor."""

from collections.abc import Callable

from torch import nn

from torchreid_vi.losses.base import ReIDLoss
from torchreid_vi.losses.identity import IdentityLoss
from torchreid_vi.losses.retrieval import CrossModalityRetrievalLoss
from torchreid_vi.losses.soft_rank import soft_rank
from torchreid_vi.losses.triplet import HardTripletLoss, WeightedTripletLoss

#: Losses by the names that ``loss.terms`` uses.
LOSSES: dict[str, Callable[..., nn.Module]] = {}


def register_loss(name: str, loss: Callable[..., nn.Module]) -> None:
    """Add a loss, and its settings ``loss.<name>.*``, which are its arguments with a default.

    Args:
        name: What ``loss.terms`` calls it.
        loss: Called with its settings; returns a module such as :class:`ReIDLoss`.
    """
    LOSSES[name] = loss


register_loss("identity", IdentityLoss)
register_loss("hard_triplet", HardTripletLoss)
register_loss("weighted_triplet", WeightedTripletLoss)
register_loss("cmr", CrossModalityRetrievalLoss)

__all__ = [
    "LOSSES",
    "CrossModalityRetrievalLoss",
    "HardTripletLoss",
    "IdentityLoss",
    "ReIDLoss",
    "WeightedTripletLoss",
    "register_loss",
    "soft_rank",
]
