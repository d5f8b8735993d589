"""Methods by the names that ``loss.name`` uses, and what they build on."""

from typing import Any

from torchreid_vi.losses import register_loss
from torchreid_vi.methods.ddag import DDAG, DDAGModel, GraphIdentityLoss, PartIdentityLoss
from torchreid_vi.methods.method import Batch, Method, NetworkSettings, Values, WeightedLosses
from torchreid_vi.methods.mmgl import MMGL, MMGLModel, PartCycleContrastLoss, PermutationRecoveryLoss
from torchreid_vi.methods.supervised import Supervised
from torchreid_vi.methods.torchreid import TorchreidSoftmax, TorchreidTriplet

#: Methods by the names that ``loss.name`` uses.
METHODS: dict[str, type[Any]] = {}


def register_method(name: str, method: type[Method]) -> None:
    """Add a method, and its settings ``loss.<name>.*``, which are its constructor's arguments with a default.

    Args:
        name: What ``loss.name`` calls it.
        method: Built from the settings of the network, the losses of ``loss.terms`` and its own settings.
    """
    METHODS[name] = method


register_method("supervised", Supervised)
register_method("ddag", DDAG)
register_method("mmgl", MMGL)
register_method("softmax", TorchreidSoftmax)
register_method("triplet", TorchreidTriplet)

register_loss("part_identity", PartIdentityLoss)
register_loss("graph_identity", GraphIdentityLoss)
register_loss("permutation", PermutationRecoveryLoss)
register_loss("part_cycle", PartCycleContrastLoss)

__all__ = [
    "DDAG",
    "METHODS",
    "MMGL",
    "Batch",
    "DDAGModel",
    "MMGLModel",
    "Method",
    "NetworkSettings",
    "Supervised",
    "TorchreidSoftmax",
    "TorchreidTriplet",
    "Values",
    "WeightedLosses",
    "register_method",
]
