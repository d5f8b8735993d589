"""Models that leave PyTorch's training behind: ONNX and torch.export, checked against what they come from."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.extras import require
from torchreid_vi.files import atomic_path
from torchreid_vi.folders import expanded, in_text
from torchreid_vi.modality import Modality
from torchreid_vi.models import flip_averaged
from torchreid_vi.models.backbone import Backbone
from torchreid_vi.retrieval.extractor import FeatureExtractor, as_modality

Run = Callable[[Tensor], Tensor]  # features of images

#: Version of ONNX's operators that is written, unless another is asked for; all of PyTorch's from 2.8 on write it.
OPSET = 18

#: How far an element of an L2-normalised feature may be from PyTorch's.
TOLERANCE = 1e-4


class Exported(NamedTuple):
    """A file that was written.

    Attributes:
        path: of it.
        difference: the largest from PyTorch's features, over batches of several sizes.
    """

    path: Path
    difference: float


class _Embedding(nn.Module):
    """L2-normalised features (B, D) of normalised images (B, 3, H, W) of one modality."""

    def __init__(self, extractor: FeatureExtractor, side: Modality) -> None:
        super().__init__()
        self.model = copy.deepcopy(extractor.model).cpu().eval()
        backbone = getattr(self.model, "backbone", None)
        if isinstance(backbone, Backbone):
            backbone.keep_stem(side)
        self.flip = extractor.embedder.flip

    def forward(self, images: Tensor) -> Tensor:
        features = flip_averaged(self.model, images) if self.flip else self.model(images)
        return nn.functional.normalize(features.float())


def check(format: str, modality: str = "") -> None:
    """Find out before a model is loaded whether it can be exported.

    Raises:
        InputError: For an unknown format or modality, or a package that is missing.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if modality:
        as_modality(modality)
    if format == "onnx":
        require("export", "exporting to ONNX")


def export(
    extractor: FeatureExtractor,
    folder: str | Path,
    format: str = "onnx",
    opset: int = OPSET,
    modality: str = "",
) -> list[Exported]:
    """Writes a model for each modality, or one for both when it has a single stream.

    The files take any number of ``images`` (B, 3, H, W) of float32, resized and normalised as their metadata say,
    and give L2-normalised ``features`` (B, D).

    Args:
        extractor: of the weights to export.
        folder: made when it is not there.
        format: a key of :data:`FORMATS`.
        opset: Version of the operators of ONNX.
        modality: ``visible`` or ``infrared`` alone; both when empty.

    Raises:
        InputError: for an unknown format, an opset that PyTorch cannot write, a package that is missing, a file
            that is there, or features that differ from PyTorch's by more than :data:`TOLERANCE`.
    """
    check(format, modality)
    folder = in_text(expanded(folder))
    backbone = getattr(extractor.model, "backbone", None)
    streams = isinstance(backbone, Backbone) and backbone.streams == 2
    wanted = [as_modality(modality)] if modality else list(Modality)
    sides = {side.name.lower(): side for side in wanted} if streams else {"model": wanted[0]}
    write, suffix = FORMATS[format]
    taken = [path for name in sides if (path := folder / f"{name}{suffix}").exists()]
    if taken:
        raise InputError(f"{taken[0]} is there: name another folder, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    done = []
    for name, side in sides.items():
        path = folder / f"{name}{suffix}"
        embedding = _Embedding(extractor, side)
        with atomic_path(path) as partial:
            about = _about(extractor, name if streams else "visible or infrared")
            run = write(_program(embedding, extractor.size), partial, about, opset)
            difference = _difference(embedding, run, extractor.size)
            if not difference <= TOLERANCE:
                raise InputError(
                    f"what {format} computes differs from PyTorch by {difference:.1g}: it was not written"
                )
            partial.replace(path)
        done.append(Exported(path, difference))
    return done


def _about(extractor: FeatureExtractor, modality: str) -> dict[str, str]:
    """What whoever runs the model has to know, as text."""
    normalise = extractor.transform.transforms[-1]
    return {
        "modality": modality,
        "input": f"images (batch, 3, {extractor.size[0]}, {extractor.size[1]}) float32, RGB",
        "preprocessing": f"resize to {extractor.size[0]} × {extractor.size[1]} (height × width, "
        f"{extractor.interpolation} with antialiasing), divide by 255, subtract mean, divide by std; "
        "grey images three times",
        "interpolation": extractor.interpolation,
        "mean": json.dumps(list(normalise.mean)),
        "std": json.dumps(list(normalise.std)),
        "output": "features (batch, D) float32, L2-normalised: the inner product is the cosine similarity",
        "weights_sha256": extractor.weights_sha256,
    }


def _difference(embedding: nn.Module, run: Run, size: tuple[int, int]) -> float:
    found = []
    generator = torch.Generator().manual_seed(0)
    for number in (1, 2, 5):
        images = torch.randn(number, 3, *size, generator=generator)
        with torch.inference_mode():
            found.append((run(images) - embedding(images)).abs().max())
    return float(torch.stack(found).max())  # not a number where one of them is


def _program(embedding: nn.Module, size: tuple[int, int]) -> torch.export.ExportedProgram:
    """The program that computes it for any number of images."""
    example = torch.zeros(2, 3, *size)
    return torch.export.export(embedding, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _to_onnx(program: torch.export.ExportedProgram, path: Path, about: dict[str, str], opset: int) -> Run:
    *_, onnxruntime = require("export", "exporting to ONNX")
    try:
        written: Any = torch.onnx.export(
            program,
            input_names=["images"],
            output_names=["features"],
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise InputError(
            f"PyTorch {torch.__version__} cannot write this model as ONNX: update it (2.8 can), or export a "
            "program of torch.export instead"
        ) from error
    if (found := written.model.opset_imports.get("")) != opset:
        raise InputError(
            f"this model cannot be written with ONNX opset {opset}: PyTorch {torch.__version__} gives {found}, so "
            f"choose --opset {found}"
        )
    written.model.metadata_props.update(about)
    written.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _to_torch(program: torch.export.ExportedProgram, path: Path, about: dict[str, str], opset: int) -> Run:
    torch.export.save(program, path, extra_files={"about.json": json.dumps(about, indent=1)})
    again = torch.export.load(path).module()
    return lambda images: cast(Tensor, again(images))


#: What writes a program and runs what was written, and how such files end, by the name of the format.
FORMATS: dict[str, tuple[Callable[[torch.export.ExportedProgram, Path, dict[str, str], int], Run], str]] = {
    "onnx": (_to_onnx, ".onnx"),
    "torch": (_to_torch, ".pt2"),
}
