"""Export a trained model as ONNX or as a program of torch.export, checked against PyTorch."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.extras import require
from torchreid_vi.files import atomic_path
from torchreid_vi.folders import expanded, in_text
from torchreid_vi.modality import Modality
from torchreid_vi.models import flip_averaged
from torchreid_vi.models.backbone import Backbone
from torchreid_vi.retrieval.extractor import FeatureExtractor

Run = Callable[[Tensor], Tensor]  # images (B, 3, H, W) to features (B, D)

#: Version of ONNX's operators that is written by default; PyTorch writes it from 2.8 on.
OPSET = 18

#: Largest difference from PyTorch of an element of an L2-normalised feature.
TOLERANCE = 1e-4


class _Embedding(nn.Module):
    """Embed normalised images (B, 3, H, W) of one modality as L2-normalised features (B, D)."""

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


def check(format: str) -> None:
    """Check, before a model is loaded, that it can be exported.

    Raises:
        InputError: For an unknown format, or when a package is missing.
    """
    if format not in FORMATS:
        raise unknown_name("format", format, FORMATS)
    if format == "onnx":
        require("export", "exporting to ONNX")


def export(
    extractor: FeatureExtractor, folder: str | Path, format: str = "onnx", opset: int = OPSET
) -> dict[Path, float]:
    """Write a model for each modality, or one for both when it has a single stream.

    The files take any number of ``images`` (B, 3, H, W) of float32, resized and normalised as their metadata say,
    and give L2-normalised ``features`` (B, D).

    Args:
        extractor: Extractor with the weights to export.
        folder: Output folder, made when it does not exist.
        format: A key of :data:`FORMATS`.
        opset: Version of ONNX's operators.

    Returns:
        For each file the largest difference from PyTorch's features, over batches of several sizes.

    Raises:
        InputError: For an unknown format, an opset that PyTorch cannot write, a missing package, a file that
            exists, or features that differ from PyTorch's by more than :data:`TOLERANCE`.
    """
    check(format)
    folder = in_text(expanded(folder))
    backbone = getattr(extractor.model, "backbone", None)
    two_streams = isinstance(backbone, Backbone) and backbone.streams == 2
    sides = {side.name.lower(): side for side in Modality} if two_streams else {"model": Modality.VISIBLE}
    write, suffix = FORMATS[format]
    paths = {name: folder / f"{name}{suffix}" for name in sides}
    for path in paths.values():
        if path.exists():
            raise InputError(f"{path} is there: name another folder, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    done = {}
    for name, side in sides.items():
        embedding = _Embedding(extractor, side)
        example = torch.zeros(2, 3, *extractor.decoder.size)
        any_batch = ({0: torch.export.Dim("batch")},)
        program = torch.export.export(embedding, (example,), dynamic_shapes=any_batch)
        about = _about(extractor, name if two_streams else "visible or infrared")
        with atomic_path(paths[name]) as partial:
            difference = _difference(embedding, write(program, partial, about, opset), example)
            if not difference <= TOLERANCE:
                raise InputError(f"{format} differs from PyTorch by {difference:.1g}: it was not written")
            partial.replace(paths[name])
        done[paths[name]] = difference
    return done


def _about(extractor: FeatureExtractor, modality: str) -> dict[str, str]:
    """Return the metadata that are needed to run the model."""
    (height, width), data = extractor.decoder.size, extractor.cfg.data
    return {
        "modality": modality,
        "input": f"images (batch, 3, {height}, {width}) float32, RGB",
        "preprocessing": f"resize to {height} × {width} (height × width, {data.interpolation} with antialiasing), "
        "divide by 255, subtract mean, divide by std; grey images three times",
        "interpolation": data.interpolation,
        "mean": json.dumps(data.norm_mean),
        "std": json.dumps(data.norm_std),
        "output": "features (batch, D) float32, L2-normalised: the inner product is the cosine similarity",
        "weights_sha256": extractor.weights_sha256,
    }


@torch.inference_mode()
def _difference(embedding: nn.Module, run: Run, example: Tensor) -> float:
    """Return the largest difference over batches of several sizes; not a number where one of them is."""
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(number, *example.shape[1:], generator=generator) for number in (1, 2, 5)]
    return float(torch.stack([(run(images) - embedding(images)).abs().max() for images in batches]).max())


def _to_onnx(program: torch.export.ExportedProgram, path: Path, about: dict[str, str], opset: int) -> Run:
    *_, onnxruntime = require("export", "exporting to ONNX")
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["features"]}
    try:
        written: Any = torch.onnx.export(program, opset_version=opset, dynamo=True, verbose=False, **names)
    except torch.onnx.OnnxExporterError as error:
        version = torch.__version__
        raise InputError(f"PyTorch {version} cannot write this model as ONNX: update it (2.8 can)") from error
    if (found := written.model.opset_imports.get("")) != opset:
        raise InputError(f"ONNX opset {opset} cannot be written: choose --opset {found}")
    written.model.metadata_props.update(about)
    written.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _to_torch(program: torch.export.ExportedProgram, path: Path, about: dict[str, str], opset: int) -> Run:
    torch.export.save(program, path, extra_files={"about.json": json.dumps(about, indent=1)})
    return cast(Run, torch.export.load(path).module())


#: Function that writes a program and returns the written model, and the ending of the file, by format.
FORMATS: dict[str, tuple[Callable[[torch.export.ExportedProgram, Path, dict[str, str], int], Run], str]] = {
    "onnx": (_to_onnx, ".onnx"),
    "torch": (_to_torch, ".pt2"),
}
