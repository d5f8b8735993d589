"""Reading checkpoints and loading weights: nothing unpickled, nothing skipped without a word."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from torchreid_vi.errors import InputError

# torchreid saves its Rank-1 as a NumPy number, which weights_only refuses unless told of it.
_NUMPY_SCALARS: list[Any] = [
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np.dtype,
    type(np.dtype("float32")),
    type(np.dtype("float64")),
]


class Loaded(NamedTuple):
    """What loading did: how many tensors matched, which of the file's were not for this model, and after
    how many epochs they were saved, where the file says so."""

    matched: int
    unused: list[str]
    epoch: int | None


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU; only tensors and plain data are read.

    Raises:
        InputError: when the file is missing, is no checkpoint, or holds pickled objects.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"weights {path} not found: check model.load_weights or model.resume")
    try:
        with torch.serialization.safe_globals(_NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "GLOBAL" in str(error):
            raise InputError(
                f"{path} was refused: it holds pickled objects, which could run code; "
                "have its author save tensors and plain data alone"
            ) from error
        raise InputError(
            f"{path} is not a checkpoint or is damaged: name a file that torch.save wrote"
        ) from error
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(
            f"{path} is not a checkpoint or is damaged: name a file that torch.save wrote"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no weights: a dictionary of tensors is expected")
    return content


def load_weights(model: nn.Module, path: str | Path) -> Loaded:
    """Loads a checkpoint, or a dictionary of tensors, into a model; the classifier may differ.

    Args:
        model: receives the weights.
        path: a checkpoint of this package or of torchreid, with or without ``module.`` in its names.

    Raises:
        InputError: naming the layers, when any but the classifier's is missing or of another shape.
    """
    content = read_checkpoint(path)
    if not isinstance(content.get("state_dict", content), dict):
        raise InputError(f"{path} holds no weights: its state_dict is not a dictionary of tensors")
    state = {
        str(name).removeprefix("module."): value for name, value in content.get("state_dict", content).items()
    }
    own = model.state_dict()
    fitting = {
        name: state[name]
        for name, value in own.items()
        if isinstance(state.get(name), Tensor) and state[name].shape == value.shape
    }
    lacking = [name for name in own if name not in fitting and not name.startswith("classifier.")]
    if lacking:
        raise InputError(
            f"{path} does not fit the model: {len(fitting)} of {len(own)} tensors match; "
            f"missing or of another shape: {', '.join(lacking[:3])}{', …' if len(lacking) > 3 else ''}; "
            "set model.name and model.streams to those the weights were made with"
        )
    model.load_state_dict(fitting, strict=False)
    return Loaded(len(fitting), [name for name in state if name not in fitting], content.get("epoch"))
