"""Precision and memory format of a model."""

from __future__ import annotations

import torch

from torchreid_vi.errors import unknown_name

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


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
