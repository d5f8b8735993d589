"""torchreid's own engines, blind to modality, evaluated and resumed as ours are.

They stop at the first step whose losses are NaN or infinite; torchreid has then moved the weights by it.
"""

from __future__ import annotations

from torchreid_vi import host
from torchreid_vi.engine.base import EngineMixin


class SoftmaxEngine(EngineMixin, host.engine.ImageSoftmaxEngine):  # type: ignore[misc]
    """torchreid's ``ImageSoftmaxEngine``: cross-entropy."""


class TripletEngine(EngineMixin, host.engine.ImageTripletEngine):  # type: ignore[misc]
    """torchreid's ``ImageTripletEngine``: batch-hard triplet and cross-entropy."""
