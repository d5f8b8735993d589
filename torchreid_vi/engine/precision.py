"""The precision and the memory format of a model, and a check that this processor computes it right."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from torchreid_vi.errors import unknown_name

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}

_TOLERANCE = 0.1  # of the relative error of a layer; bf16 rounds to 0.004


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """Return what ``train.precision`` means on a device: ``auto`` is fp32 on a CPU."""
    if precision == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if precision not in PRECISIONS:
        raise unknown_name("precision in train.precision", precision, ("auto", *PRECISIONS))
    return PRECISIONS[precision]


def memory_format_of(name: str, device: torch.device) -> torch.memory_format:
    """Return what ``train.memory_format`` means on a device: ``auto`` is ``channels_last`` on a GPU alone."""
    if name == "auto":
        name = "channels_last" if device.type == "cuda" else "contiguous"
    if name not in MEMORY_FORMATS:
        raise unknown_name("format in train.memory_format", name, ("auto", *MEMORY_FORMATS))
    return MEMORY_FORMATS[name]


def wrong_layer(backbone: nn.Module, images: Tensor, modality: Tensor, dtype: torch.dtype) -> str:
    """Find a layer that this processor computes wrongly in half precision.

    PyTorch 2.15's bf16 convolutions with stride 2 to a single column give NaN, or are off by 2 to 3, on Intel
    processors with AMX. So every convolution and linear layer of a different shape computes its output and
    gradients once in fp32 and once in ``dtype``, from the same inputs.

    Args:
        backbone: What :class:`~torchreid_vi.models.Backbone` is; it is left as it was.
        images: (B, 3, H, W) of the height and width that will be trained on.
        modality: (B,).
        dtype: The half precision to check.

    Returns:
        The layer's name with its relative error, or "" when all agree.
    """
    found: list[str] = []
    seen: set[tuple[Any, ...]] = set()

    def check(name: str, layer: Any, inputs: tuple[Tensor, ...]) -> None:
        kind = (
            *inputs[0].shape,
            *layer.weight.shape,
            getattr(layer, "stride", None),
            getattr(layer, "groups", None),
        )
        if found or kind in seen:
            return
        seen.add(kind)
        error = _relative_error(layer, inputs[0], dtype)
        if not error < _TOLERANCE:  # also NaN
            found.append(f"{name} (relative error {error:.2g})")

    backbone = copy.deepcopy(backbone).eval().requires_grad_()
    for name, layer in backbone.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_pre_hook(lambda layer, inputs, name=name: check(name, layer, inputs))
    with torch.no_grad():
        backbone(images, modality)
    return found[0] if found else ""


def _relative_error(layer: Any, inputs: Tensor, dtype: torch.dtype) -> float:
    """Return the largest of a layer's output and both gradients."""
    inputs = inputs.detach().requires_grad_()
    direction: Tensor | None = None
    results = []
    for enabled in (False, True):
        with torch.enable_grad(), torch.autocast(inputs.device.type, dtype, enabled=enabled):
            output = layer.forward(inputs)  # past the hook
        if direction is None:
            direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
        gradients = torch.autograd.grad(output, (inputs, layer.weight), direction.to(output.dtype))
        results.append([value.detach().float() for value in (output, *gradients)])
    errors = [
        (half - full).norm() / full.norm().clamp(min=1e-12) for full, half in zip(*results, strict=True)
    ]
    return float(torch.stack(errors).max()) if not any(error.isnan() for error in errors) else float("nan")
