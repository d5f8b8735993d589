"""torchreid's own engines, blind to modality, evaluated and resumed as ours are."""

from __future__ import annotations

import math
from typing import Any

from torchreid_vi import host
from torchreid_vi.engine.base import EngineMixin


class _Watched(EngineMixin):
    """Stops at the first step whose losses are NaN or infinite; torchreid has then moved the weights by it."""

    def forward_backward(self, data: dict[str, Any]) -> dict[str, Any]:
        summary: dict[str, Any] = super().forward_backward(data)  # type: ignore[misc]
        if wrong := [f"{name} is {value}" for name, value in summary.items() if not math.isfinite(value)]:
            self.keep_nonfinite(wrong, stop=True)
        return summary


class SoftmaxEngine(_Watched, host.engine.ImageSoftmaxEngine):  # type: ignore[misc]
    """torchreid's ``ImageSoftmaxEngine``: cross-entropy."""


class TripletEngine(_Watched, host.engine.ImageTripletEngine):  # type: ignore[misc]
    """torchreid's ``ImageTripletEngine``: batch-hard triplet and cross-entropy."""
