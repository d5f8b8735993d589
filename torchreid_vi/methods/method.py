"""The contract between a method and the engine that trains it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from torchreid_vi import distributed
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Rows, moved, rows_of

WeightedLosses = dict[str, tuple[nn.Module, float]]
Values = dict[str, Tensor]

#: Methods by the names that ``loss.name`` uses.
METHODS: dict[str, type[Any]] = {}


def register_method(name: str, method: type[Method]) -> None:
    """Add a method, and its settings ``loss.<name>.*``, which are its constructor's arguments with a default.

    Args:
        name: What ``loss.name`` calls it.
        method: Built from the settings of the network, the losses of ``loss.terms`` and its own settings.
    """
    METHODS[name] = method


class Batch(NamedTuple):
    """A training batch, or this process's share of it.

    Attributes:
        images: Normalised images (B, 3, H, W), on the device that trains.
        pids: Identities (B,), there, too.
        modality: 0 visible, 1 infrared (B,), on the CPU, so that nothing waits for a GPU.
        views: Number of views of each image; the first views of all images come first.
    """

    images: Tensor
    pids: Tensor
    modality: Tensor
    views: int = 1

    @classmethod
    def of(cls, data: dict[str, Any], device: torch.device, memory_format: torch.memory_format) -> Batch:
        """Return the batch of what a loader gives; several views of it become one, with their labels."""
        views = data["img"] if isinstance(data["img"], list) else [data["img"]]
        images = views[0] if len(views) == 1 else torch.cat(views)
        images = images.to(device, non_blocking=True, memory_format=memory_format)
        pids = moved(data["pid"].repeat(len(views)), device)
        return cls(images, pids, data["modality"].repeat(len(views)), len(views))

    @property
    def image(self) -> Tensor:
        """The number of the image that each row is a view of (B,), on the CPU; unique among all processes."""
        number = len(self.modality) // self.views
        return torch.arange(number).repeat(self.views) + distributed.rank() * number

    @property
    def view(self) -> Tensor:
        """The number of the view that each row is (B,), on the CPU."""
        return torch.arange(self.views).repeat_interleave(len(self.modality) // self.views)

    @property
    def rows(self) -> Rows:
        """The rows of the visible and of the infrared images, on the device."""
        return rows_of(self.modality, self.images.device)


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of a network: ``model.*``, and what the data say.

    Attributes:
        backbone: Torchreid's name of the backbone.
        identities: Number of training identities.
        height: Height of the images, in pixels.
        width: Width of the images, in pixels.
        pretrained: Whether to start from torchreid's ImageNet weights.
        streams: 1, or 2 for a stem for each modality.
        last_stride: 1 keeps the last stage's resolution, where the backbone has one.
        head: The other settings of :class:`~torchreid_vi.models.VIModel`.
    """

    backbone: str
    identities: int
    height: int = 256
    width: int = 128
    pretrained: bool = False
    streams: int = 1
    last_stride: int = 2
    head: dict[str, Any] = field(default_factory=dict)


class Method(nn.Module):
    """A network with its losses, and what both do with a batch.

    A subclass implements :meth:`training_step`, and where it retrieves nothing :meth:`evaluate_pretext`. Its
    constructor takes the settings of the network and the losses of ``loss.terms``; every other argument, with its
    default, is a setting ``loss.<name of the method>.<argument>``.

    Args:
        network: Holds all that is trained and saved. Buffers that belong to a run and not to the weights have names
            that begin with ``run_``.
        losses: Losses by name, each with its weight.
        outputs: Fields of what the network returns in training; a loss reads the one that its ``on`` names. Not
            checked when empty.

    Attributes:
        self_supervised: Whether training reads no identity; such a method is judged by :meth:`evaluate_pretext` and
            leaves the weights of its backbone.
        takes: Other methods whose settings it takes, too.

    Raises:
        InputError: For no loss, or one that reads a field which is not there.
    """

    self_supervised: ClassVar[bool] = False
    takes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, network: nn.Module, losses: WeightedLosses, outputs: Sequence[str] = ()) -> None:
        super().__init__()
        if not losses:
            raise InputError("loss.terms is empty: name at least one loss")
        for name, (loss, _) in losses.items():
            if outputs and field_of(loss) not in outputs:
                raise InputError(
                    f"loss.terms {name} reads {field_of(loss)}, and the network of this method gives "
                    f"{', '.join(outputs)}: choose another term or loss.name"
                )
        self.network, self.losses = network, losses

    def forward(self, batch: Batch) -> tuple[Values, Values]:
        return self.training_step(batch)

    def training_step(self, batch: Batch) -> tuple[Values, Values]:
        """Return the value of each loss, and other metrics of the batch, as scalar tensors.

        Of several processes each computes its share, and ``gathered`` gives the losses the whole batch.
        """
        raise NotImplementedError

    def loss_values(self, outputs: Any, targets: Callable[[str], tuple[Tensor, ...]]) -> Values:
        """Compute each loss in full precision.

        Args:
            outputs: What the network returns, a named tuple.
            targets: Gives what a loss takes beside the field of that name.
        """
        with torch.autocast(outputs[0].device.type, enabled=False):
            return {
                name: loss(getattr(outputs, field_of(loss)), *targets(field_of(loss)))
                for name, (loss, _) in self.losses.items()
            }

    def embed(self, images: Tensor, modality: Tensor) -> Tensor:
        """Return the features (B, D) of images (B, 3, H, W) with their modality (B,); the network evaluates."""
        return self.network(images, modality)

    def begin_epoch(self) -> None:
        """Prepare for an epoch; not called when training resumes within one."""

    def evaluate_pretext(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return scores of the pretext on held-out images, the main one first, in percent.

        Args:
            batches: Images (B, 3, H, W) and their modality (B,), on the device.
        """
        raise NotImplementedError


def field_of(loss: nn.Module) -> str:
    """Return the field of a network's output that a loss reads; the embedding unless it says otherwise."""
    return getattr(loss, "on", "embedding")


def gathered(outputs: Any, *labels: Tensor) -> tuple[Any, ...]:
    """Return outputs, a named tuple of tensors, and labels of the whole batch, of this process's share."""
    tensors = distributed.gather(*outputs, *labels)
    return type(outputs)(*tensors[: len(outputs)]), *tensors[len(outputs) :]
