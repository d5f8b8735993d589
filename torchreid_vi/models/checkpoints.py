"""Read and write files of weights. Nothing in them runs code."""

from __future__ import annotations

import json
import pickle
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from torchreid_vi import files
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded
from torchreid_vi.models.backbone import Backbone


class NumPyValue:
    """Stands for a NumPy number or array that a checkpoint holds beside its tensors.

    torchreid saves its Rank-1 so, AGW's code its CMC. NumPy itself is not called: a hostile state of a type
    corrupts its memory.
    """

    def __new__(cls, *args: Any) -> NumPyValue:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""


_NUMPY: list[Any] = [
    (NumPyValue, f"numpy.{name}")
    for name in (
        "dtype",
        "ndarray",
        "_core.multiarray.scalar",
        "_core.multiarray._reconstruct",
        "core.multiarray.scalar",  # before NumPy 2
        "core.multiarray._reconstruct",
    )
]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the content of a checkpoint or of a ``.safetensors`` file, on the CPU.

    Tensors and plain data are read; a :class:`NumPyValue` stands for anything of NumPy's.

    Raises:
        InputError: When the file is missing, is no checkpoint, or holds other pickled objects.
    """
    path = expanded(path)
    if not path.is_file():
        raise InputError(
            f"weights {path} not found: check the path that names them; pre-training leaves backbone.pth"
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        _compare_checksums(path)
        with torch.serialization.safe_globals(_NUMPY):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the reader raise
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise InputError(
                f"{path} was refused: it holds pickled objects, which could run code; "
                "have its author save tensors and plain data alone"
            ) from error
        raise InputError(
            f"{path} is not a checkpoint or is damaged: name a file that torch.save wrote"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no weights: a dictionary of tensors is expected")
    return content


def _compare_checksums(path: Path) -> None:
    """Raise for an archive that differs from its checksums, which PyTorch does not look at."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise zipfile.BadZipFile


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Return the tensors as ``state_dict``, and beside it what :func:`save_safetensors` was told about them."""
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
            about = json.loads((file.metadata() or {}).get("about", "{}"))
        return {**about, "state_dict": state}
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(f"{path} is no safetensors file or is damaged: get it again") from error


def save_safetensors(state: dict[str, Tensor], path: Path, about: dict[str, Any]) -> None:
    """Write tensors alone, the same bytes for the same tensors.

    Args:
        state: Tensors by name; those that share memory are each written in full.
        path: Output file, ``.safetensors``.
        about: Plain data on them, which :func:`read_checkpoint` returns beside them.
    """
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }
    path.write_bytes(
        save(tensors, {"about": json.dumps(about, sort_keys=True)})
    )  # save_file would let the owner alone read it


def save_backbone(model: nn.Module, path: Path, about: dict[str, Any]) -> None:
    """Write the weights of ``model.backbone`` alone, and what they are beside it as JSON.

    Args:
        model: Has a :class:`~torchreid_vi.models.Backbone` as ``backbone``.
        path: Output file, ``.pth``.
        about: Plain data on how the weights were trained.
    """
    backbone = cast(Backbone, model.backbone)
    about = {
        "backbone": backbone.name,
        "streams": backbone.streams,
        "torchreid_vi": version("torchreid_vi"),
        **about,
    }
    about = json.loads(json.dumps(about))  # plain data alone, which every reader opens
    state = {f"backbone.{name}": value.cpu() for name, value in backbone.state_dict().items()}
    with files.atomic_write(path) as file:
        torch.save({"state_dict": state, "about": about}, file)
    files.write_text(path.with_suffix(".json"), json.dumps(about, indent=1) + "\n")
