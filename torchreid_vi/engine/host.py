"""torchreid's own engines, blind to modality, evaluated and resumed as ours are.

They stop at the first step whose losses are NaN or infinite; torchreid has then moved the weights by it.
"""

from __future__ import annotations

import math
from typing import Any

from torchreid_vi import host
from torchreid_vi.engine.base import EngineMixin


class SoftmaxEngine(EngineMixin, host.engine.ImageSoftmaxEngine):  # type: ignore[misc]
    """torchreid's ``ImageSoftmaxEngine``: cross-entropy."""

    def forward_backward(self, data: dict[str, Any]) -> dict[str, Any]:
        """One step on a batch; returns its losses."""
        return _watched(self, super().forward_backward(data))


class TripletEngine(EngineMixin, host.engine.ImageTripletEngine):  # type: ignore[misc]
    """torchreid's ``ImageTripletEngine``: batch-hard triplet and cross-entropy."""

    def forward_backward(self, data: dict[str, Any]) -> dict[str, Any]:
        """One step on a batch; returns its losses."""
        return _watched(self, super().forward_backward(data))


def _watched(engine: EngineMixin, summary: dict[str, Any]) -> dict[str, Any]:
    if wrong := [f"{name} is {value}" for name, value in summary.items() if not math.isfinite(value)]:
        raise engine.diverged(engine.keep_nonfinite(wrong))
    return summary
