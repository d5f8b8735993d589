"""Any torchreid model as a trunk: its feature maps, from one stem or one for each modality."""

from __future__ import annotations

import copy
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchreid_vi import host
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.modality import Modality, Rows, rows_of
from torchreid_vi.models.blocks import BLOCKS

log = logging.getLogger(__name__)

HEADS = ("classifier", "fc")  # what torchreid's models call what follows their feature maps
INSERTED = "_inserted"  # how the names of blocks between layers end
_STAGES = (("layer2", "layer3"), ("conv3", "conv4"))  # what ResNets and OSNets call the stages that get them
_STEM = ("conv1", "bn1", "layer0")  # what they call their first layers


class Backbone(nn.Module):
    """A torchreid model up to its feature maps.

    With two streams each modality has a copy of the stem (the first convolution and its normalisation)
    and all else is shared.

    Args:
        name: torchreid's name of the model.
        streams: 1, or 2 for a stem for each modality.
        last_stride: 1 keeps the last stage at its input's resolution, where the model has such a stage.
        pretrained: Start from the ImageNet weights that torchreid downloads.

    Attributes:
        channels: C of the feature maps (B, C, H, W).

    Raises:
        InputError: For an unknown name, a model without feature maps or a stem, or a failed download.
    """

    def __init__(self, name: str, streams: int = 1, last_stride: int = 2, pretrained: bool = False) -> None:
        super().__init__()
        self.name, self.streams = name, streams
        self.trunk = torchreid_model(name, pretrained=pretrained)
        if not callable(_maps(self.trunk)):
            raise InputError(
                f"model.name {name} computes no feature maps on the way: choose another backbone"
            )
        for unused in HEADS:
            if hasattr(self.trunk, unused):
                setattr(self.trunk, unused, None)
        if last_stride not in (1, 2):
            raise InputError(f"model.last_stride is {last_stride}: it is 1 or 2")
        if last_stride == 1:
            _keep_resolution(self.trunk, name)
        self.stems = nn.ModuleList()
        if streams == 2:
            self.stems.extend(_split_stem(self.trunk, name))
        elif streams != 1:
            raise InputError(f"model.streams is {streams}: it is 1 or 2")
        self.channels = self.maps_of(256, 128).shape[1]

    def insert(self, name: str, **options: Any) -> None:
        """Puts blocks where AGW and MCJA have them in a ResNet: after the last two layers of its second
        stage and the last three of its third, or as many as there are.

        The layers keep their names, so weights from without the blocks still fit.

        Args:
            name: From :data:`~torchreid_vi.models.blocks.BLOCKS`.
            **options: Options of the block.

        Raises:
            InputError: For an unknown name, an option the block refuses, or a model without such stages.
        """
        if name not in BLOCKS:
            raise unknown_name("blocks in model.blocks", name, BLOCKS)
        stages = next((names for names in _STAGES if all(_is_stage(self.trunk, n) for n in names)), None)
        if stages is None:
            raise InputError(
                f"model.name {self.name} has neither layer2 and layer3 nor conv3 and conv4 to put model.blocks "
                "into: choose a ResNet or an OSNet, or leave model.blocks empty"
            )
        for stage, number in zip(stages, (2, 3), strict=True):
            layers = list(getattr(self.trunk, stage).named_children())
            widths = self._widths([layer for _, layer in layers])
            longer: OrderedDict[str, nn.Module] = OrderedDict()
            for i, (called, layer) in enumerate(layers):
                longer[called] = layer
                if i >= len(layers) - number:
                    try:
                        longer[f"{called}{INSERTED}"] = BLOCKS[name](widths[i], **options)
                    except (TypeError, ValueError, RuntimeError) as error:
                        raise InputError(f"model.{name}: {error}") from error
            setattr(self.trunk, stage, nn.Sequential(longer))

    def _widths(self, layers: list[nn.Module]) -> list[int]:
        """Return the number of channels after each layer."""
        widths: list[int] = []
        hooks = [
            layer.register_forward_hook(lambda _, __, out: widths.append(out.shape[1])) for layer in layers
        ]
        self.maps_of(256, 128)
        for hook in hooks:
            hook.remove()
        return widths

    def forward(self, images: Tensor, modality: Tensor | Rows | None = None) -> Tensor:
        """Feature maps (B, C, H′, W′) of images (B, 3, H, W).

        Two streams need their modality (B,), or the rows of either modality, from which ``torch.compile`` makes one
        graph.
        """
        if len(self.stems) == 1:
            images = self.stems[0](images)
        elif len(self.stems):
            if modality is None:
                raise ValueError("a two-stream model needs the modality of each image")
            images = self._stem(images, modality)
        maps = cast(Callable[[Tensor], Tensor], _maps(self.trunk))
        return maps(images)

    def keep_stem(self, modality: Modality) -> None:
        """Keep one modality's stream of two; the backbone then takes that modality's images alone."""
        if len(self.stems):
            self.stems = nn.ModuleList([self.stems[modality]])

    def _stem(self, images: Tensor, modality: Tensor | Rows) -> Tensor:
        rows = modality if isinstance(modality, tuple) else rows_of(modality, images.device)
        parts = [
            stem(images.index_select(0, own)) for stem, own in zip(self.stems, rows, strict=True) if len(own)
        ]
        return torch.cat(parts).index_select(0, torch.cat(rows).argsort())

    @torch.no_grad()
    def maps_of(self, height: int, width: int) -> Tensor:
        """Return the maps (1, C, H′, W′) of one blank image of that size.

        Raises:
            InputError: When the model cannot take it, or returns no maps.
        """
        training = self.training
        try:
            maps = self.eval()(torch.zeros(1, 3, height, width), torch.zeros(1, dtype=torch.long))
        except RuntimeError as error:
            raise InputError(
                f"model.name {self.name} does not take images of {height} × {width}: {error}"
            ) from error
        self.train(training)
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            raise InputError(
                f"model.name {self.name} has no single spatial feature map: choose another backbone"
            )
        return maps


def torchreid_model(name: str, num_classes: int = 1, pretrained: bool = False, **options: Any) -> nn.Module:
    """torchreid's model of that name.

    Raises:
        InputError: For an unknown name, or when its weights cannot be downloaded.
    """
    if name not in host.MODELS:
        raise unknown_name("model in model.name", name, host.MODELS)
    try:
        return host.models.build_model(
            name, num_classes, pretrained=pretrained, use_gpu=False, **({"loss": "softmax"} | options)
        )
    except Exception as error:  # urllib's, gdown's or torch's, by model
        if not pretrained or isinstance(error, InputError):
            raise
        raise InputError(
            f"the ImageNet weights of {name} could not be downloaded: connect to the network, "
            "set model.pretrained False, or start from a checkpoint with model.load_weights"
        ) from error


def _maps(trunk: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """torchreid's models compute their maps in ``featuremaps``, some before the last ReLU in ``features``."""
    if hasattr(trunk, "featuremaps"):
        return cast(Callable[[Tensor], Tensor], trunk.featuremaps)
    features = getattr(trunk, "features", None)
    return (lambda images: F.relu(features(images))) if callable(features) else None


def _is_stage(trunk: nn.Module, name: str) -> bool:
    return isinstance(getattr(trunk, name, None), nn.Sequential)


def _keep_resolution(trunk: nn.Module, name: str) -> None:
    """Set the stride of the last stage that has one to 1: a ResNet's layer4, MobileNetV2's conv7."""
    found = [getattr(trunk, stage, None) for stage in ("layer4", "conv7")]
    stages = [stage for stage in found if isinstance(stage, nn.Sequential)]
    if not stages:
        log.info(f"{name} has no last stride to change: model.last_stride is left as it is")
        return
    for module in stages[0][0].modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)


def _split_stem(trunk: nn.Module, name: str) -> list[nn.Module]:
    """Takes the stem out of ``trunk``, which passes its input through in its place, and copies it."""
    parts = [part for part in _STEM if hasattr(trunk, part)]
    if not parts:
        raise InputError(f"model.name {name} has no stem that is known: set model.streams 1")
    stem = nn.Sequential(OrderedDict((part, getattr(trunk, part)) for part in parts))
    for part in parts:
        setattr(trunk, part, nn.Identity())
    return [stem, copy.deepcopy(stem)]
