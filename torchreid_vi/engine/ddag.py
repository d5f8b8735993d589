"""DDAG: the weight of the graph attention's loss follows how well the rest is learnt.

Ye et al. Dynamic Dual-Attentive Aggregation Learning for Visible-Infrared Person Re-Identification.
ECCV 2020.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchreid_vi.engine.loop import NONFINITE
from torchreid_vi.engine.vi import VIEngine
from torchreid_vi.modality import rows_of
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
        self._begin_sum(0.0, 0)

    def _begin_sum(self, total: float, steps: int) -> None:
        """Begin the sum of the other losses over an epoch's steps, and their number."""
        self.sum = torch.full((), total, dtype=torch.float64, device=self.device)
        self.steps = torch.full((), steps, device=self.device)

    def begin_epoch(self) -> None:
        total, steps = float(self.sum), int(self.steps)
        self.graph_weight = 1 / (1 + total / steps) if steps else 0.0
        self._begin_sum(0.0, 0)

    def predict(self, images: Tensor, modality: Tensor, pids: Tensor) -> DDAGOutput:
        return self.network(images, rows_of(modality, self.device), pids)

    def step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        others = [value.detach() * self.losses[name][1] for name, value in values.items() if name != GRAPH]
        if GRAPH in values:
            values = values | {GRAPH: values[GRAPH] * self.graph_weight}
        summary = super().step(values)
        left_out = summary[NONFINITE]
        self.sum += torch.where(left_out, 0.0, torch.stack(others).sum())
        self.steps += ~left_out
        return summary

    def extra_state(self) -> dict[str, Any]:
        return super().extra_state() | {
            "others": [float(self.sum), int(self.steps)],
            "graph_weight": self.graph_weight,
        }

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self._begin_sum(*state["others"])
        self.graph_weight = state["graph_weight"]
