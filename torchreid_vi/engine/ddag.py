"""DDAG: the weight of the graph attention's loss follows how well the rest is learnt.

Ye et al. Dynamic Dual-Attentive Aggregation Learning for Visible-Infrared Person Re-Identification.
ECCV 2020.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchreid_vi.engine.vi import VIEngine
from torchreid_vi.models import DDAGOutput

GRAPH = "graph_identity"


class DDAGEngine(VIEngine):
    """Trains a :class:`~torchreid_vi.models.DDAGModel`.

    The loss named ``graph_identity`` is multiplied by 1/(1 + m), m being the mean over the epoch before of
    the weighted sum of all others, and by zero in the first epoch. The arguments are
    :class:`~torchreid_vi.engine.step.StepEngine`'s.
    """

    outputs = DDAGOutput._fields

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.graph_weight = 0.0
        self.sum, self.steps = torch.zeros((), dtype=torch.float64), 0  # of the other losses in this epoch

    def begin_epoch(self) -> None:
        self.graph_weight = 1 / (1 + float(self.sum) / self.steps) if self.steps else 0.0
        self.sum, self.steps = torch.zeros((), dtype=torch.float64, device=self.device), 0

    def predict(self, images: Tensor, modality: Tensor, pids: Tensor) -> DDAGOutput:
        return self.network(images, modality, pids)

    def step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        others = [value.detach() * self.losses[name][1] for name, value in values.items() if name != GRAPH]
        if GRAPH in values:
            values = values | {GRAPH: values[GRAPH] * self.graph_weight}
        summary = super().step(values)
        if summary:  # a step that is left out counts for nothing
            self.sum += torch.stack(others).sum()
            self.steps += 1
        return summary

    def extra_state(self) -> dict[str, Any]:
        return super().extra_state() | {
            "others": [float(self.sum), self.steps],
            "graph_weight": self.graph_weight,
        }

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        total, self.steps = state["others"]
        self.graph_weight = state["graph_weight"]
        self.sum = torch.tensor(total, dtype=torch.float64, device=self.device)
