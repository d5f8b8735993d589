"""Load weights into models. Nothing is skipped silently."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.modality import Modality
from torchreid_vi.models.backbone import HEADS, INSERTED
from torchreid_vi.models.checkpoints import read_checkpoint
from torchreid_vi.models.layouts import of_a_run, tensors_of, where_tensors_lie

STEMS = ("average", "visible", "infrared")  # what a one-stream model can take of two stems


class Loaded(NamedTuple):
    """Tensors that were and were not loaded.

    Attributes:
        matched: Number of the model's tensors that were loaded.
        total: Number of tensors of the model.
        fresh: Tensors that the file lacks, such as those of a head.
        unused: Tensors of the file that this model lacks.
        epoch: After how many epochs they were saved, where the file says so.
    """

    matched: int
    total: int
    fresh: list[str]
    unused: list[str]
    epoch: int | None


def identities(content: dict[str, Any]) -> int:
    """Return the number of identities that a checkpoint's classifier tells apart, or one.

    Raises:
        InputError: When the classifier is no matrix.
    """
    weight = tensors_of(content).get("classifier.weight")
    if not isinstance(weight, Tensor):
        return 1
    if weight.ndim != 2:
        raise InputError(
            f"the weights have a classifier of shape {tuple(weight.shape)}, which is of no model: get them again"
        )
    return len(weight)


def load_weights(model: nn.Module, path: str | Path, stem: str = "average") -> Loaded:
    """Loads weights into a model of this package or of torchreid, from a file of either.

    The backbone has to match whole. A head after it is loaded whole when the file has one for this model
    and keeps its values when not, so a pre-trained backbone starts any head; the classifier may differ
    in the number of identities. A two-stream model takes both stems from a single one, and a one-stream
    model what ``stem`` says of two.

    Args:
        model: Receives the weights.
        path: A checkpoint, a ``backbone.pth``, a dictionary of tensors or a ``.safetensors`` file, of this package,
            torchreid or a code that ``torchreid_vi.models.layouts`` knows, with or without ``module.`` in its
            names.
        stem: ``average``, ``visible`` or ``infrared``.

    Raises:
        InputError: Naming the tensors, when any of the backbone, or some of the head, is missing or of
            another shape.
    """
    if stem not in STEMS:
        raise unknown_name("stem in model.load_stem", stem, STEMS)
    content = read_checkpoint(path)
    state = {name: value for name, value in tensors_of(content).items() if not of_a_run(name)}
    if not state:
        raise InputError(f"{path} holds no weights: {where_tensors_lie(content)}")
    source = _Source(state)
    own = {name: value for name, value in model.state_dict().items() if not of_a_run(name)}
    found = {name: source.find(name, stem) for name in own}
    fitting = {
        name: value for name, value in found.items() if value is not None and value.shape == own[name].shape
    }
    unused = source.unused({_shared_name(name)[0] for name in fitting})
    omitted = getattr(
        model, "omits", ()
    )  # beginnings of names of a backbone's layers that the model leaves out
    surplus = [
        name
        for name in unused
        if not (_is_head(name, source.names.values()) or _shared_name(name)[0].startswith(omitted or "\0"))
    ]
    count = "num_batches_tracked"  # which older files lack, and no result depends on
    absent = [
        name
        for name in own
        if name not in fitting
        and not (name.endswith(count) and f"{name.removesuffix(count)}running_mean" in fitting)
    ]
    lacking = [name for name in absent if not name.startswith("classifier.")]
    head = [name for name in own if _is_head(name, own) and not name.startswith("classifier.")]
    if not any(name in fitting for name in head):  # a backbone for a head that stays as it is
        lacking = [name for name in lacking if name not in head]
    if odd := lacking or surplus:
        raise InputError(
            f"{path}{_described(content)} does not fit the model: {len(fitting)} of {len(own)} tensors match; "
            f"{'missing or of another shape' if lacking else 'not in the model'}: "
            f"{', '.join(odd[:3])}{', …' if len(odd) > 3 else ''}; "
            "set model.name and the settings of the head to those the weights were made with"
        )
    model.load_state_dict(fitting, strict=False)
    return Loaded(len(fitting), len(own), absent, unused, _epoch(content))


class _Source:
    """Tensors of a file by the name they have in a model of one stream."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.names: dict[str, str] = {}  # of the file, by the one of one stream
        self.shared: dict[str, Tensor] = {}
        self.stems: dict[str, dict[str, Tensor]] = {}
        for name, value in state.items():
            shared, stream = _shared_name(name)
            self.names.setdefault(shared, name)
            where = self.shared if stream is None else self.stems.setdefault(shared, {})
            where[shared if stream is None else stream] = value

    def find(self, name: str, stem: str) -> Tensor | None:
        """Return the tensor for a model's ``name``."""
        shared, stream = _shared_name(name)
        if shared in self.shared:
            return self.shared[shared]
        stems = self.stems.get(shared, {})
        wanted = stream or stem
        if wanted == "average" and len(stems) == 2:
            visible, infrared = stems.values()
            if visible.shape != infrared.shape or visible.dtype != infrared.dtype:
                return None
            return torch.lerp(visible, infrared, 0.5) if visible.is_floating_point() else visible
        return stems.get(wanted)

    def unused(self, used: set[str]) -> list[str]:
        """Return the file's names, without those of the tensors ``used``."""
        return [name for shared, name in self.names.items() if shared not in used]


def _shared_name(name: str) -> tuple[str, str | None]:
    """Return torchreid's own name of a tensor, and the modality whose stem it belongs to, if any."""
    for stream, modality in enumerate(Modality):
        if name.startswith(prefix := f"backbone.stems.{stream}."):
            return name.removeprefix(prefix), modality.name.lower()
    return name.removeprefix("backbone.trunk."), None


def _is_head(name: str, own: Iterable[str]) -> bool:
    """Return whether a tensor is none of torchreid's backbone: a block between its layers, or after its maps.

    Args:
        name: Name of the tensor.
        own: The names of all tensors of its model.
    """
    if f"{INSERTED}." in name:
        return True
    if any(other.startswith("backbone.") for other in own):
        return not name.startswith("backbone.")
    return name.startswith(tuple(f"{head}." for head in HEADS))


def _epoch(content: dict[str, Any]) -> int | None:
    about = content.get("about")
    epoch = content.get("epoch", about.get("epochs") if isinstance(about, dict) else None)
    return epoch if isinstance(epoch, int) else None


def _described(content: dict[str, Any]) -> str:
    about = content.get("about")
    if not isinstance(about, dict):
        return ""
    return f" ({about.get('backbone')}, {about.get('streams')} streams)"
