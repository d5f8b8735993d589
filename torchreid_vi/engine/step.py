"""The optimisation step that our own engines share: precision, scaling, clipping."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from torchreid_vi import console, distributed, host
from torchreid_vi.engine.base import EngineMixin
from torchreid_vi.engine.loop import NONFINITE
from torchreid_vi.engine.precision import dtype_of, memory_format_of, wrong_layer
from torchreid_vi.errors import InputError
from torchreid_vi.modality import moved
from torchreid_vi.models import Backbone

WeightedLosses = dict[str, tuple[nn.Module, float]]


class StepEngine(EngineMixin, host.engine.Engine):  # type: ignore[misc]
    """One model, one optimiser and a weighted sum of losses, in any precision, in one process or several.

    Losses see the whole batch, also where several processes have a share of it each.

    Args:
        datamanager: a :class:`~torchreid_vi.data.VIDataManager`.
        model: called with images (B, 3, H, W) and their modality (B,).
        optimizer: of the model's parameters; one with ``fused=True`` does not wait for the device.
        losses: by name, each with its weight.
        scheduler: stepped once an epoch.
        use_gpu: train on the GPU when there is one.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: on a GPU bf16 where it has it and fp16
            otherwise, on a CPU fp32. Losses are always computed in full precision.
        memory_format: how images and weights lie in memory: ``channels_last``, ``contiguous``, or ``auto``, the
            first on a GPU and the second on a CPU.
        compile: compile the model when it is first called.
        sync_bn: batch normalisation over the shares of all processes, on GPUs.
        clip_grad: largest norm of the gradient, 0 for no limit.
        skip_nonfinite: number of steps of a run that may be left out because a loss or the gradient is NaN or
            infinite; the next one stops it. In fp16, what the scale of the loss made overflow does not count.
        **kwargs: ``seed``, ``protocols`` and ``flip`` of :class:`~torchreid_vi.engine.base.EngineMixin`.

    Attributes:
        network: what to call in training: the model, or what averages its gradients over the processes.
        outputs: the fields of what the engine's model returns; a loss reads the one that its ``on`` names.

    Raises:
        InputError: for no loss, or one that reads a field which is not there, and for ``sync_bn`` among
            processes without GPUs.
    """

    outputs: tuple[str, ...] = ()

    def __init__(
        self,
        datamanager: Any,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        losses: WeightedLosses,
        scheduler: Any = None,
        use_gpu: bool = True,
        precision: str = "auto",
        memory_format: str = "auto",
        compile: bool = False,
        sync_bn: bool = False,
        clip_grad: float = 0.0,
        skip_nonfinite: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(datamanager, use_gpu, **kwargs)
        if not losses:
            raise InputError("loss.terms is empty: name at least one loss")
        for name, (loss, _) in losses.items():
            if read_by(loss) not in self.outputs:
                raise InputError(
                    f"loss.terms {name} is no loss of this engine, whose model gives {', '.join(self.outputs)}: "
                    "choose another term or loss.name"
                )
        if sync_bn and distributed.size() > 1:
            if not self.use_gpu:
                raise InputError("train.sync_bn is for GPUs, and there is none: leave it False")
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model, self.optimizer, self.scheduler, self.losses = model, optimizer, scheduler, losses
        self.clip_grad = clip_grad
        self.skip_nonfinite = skip_nonfinite
        self._buffers: list[Tensor] = []  # of the model before the step, where one may be left out
        self.device = torch.device("cuda" if self.use_gpu else "cpu")
        self.memory_format = memory_format_of(memory_format, self.device)
        model.to(memory_format=self.memory_format)
        if compile:
            model.compile()
        self.network: nn.Module = model
        self._called = False  # of several processes: has the network computed what the next step is about?
        if distributed.size() > 1:
            self.network = DistributedDataParallel(model)
            self.network.register_forward_hook(lambda *_: setattr(self, "_called", True))
        self.dtype = dtype_of(precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        self.register_model("model", model, optimizer, scheduler)

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Run torchreid's ``run``, in fp32 where this processor computes wrongly in half precision."""
        if self.device.type == "cpu" and self.dtype is not torch.float32 and not kwargs.get("test_only"):
            self._check_precision()
        super().run(*args, **kwargs)

    def _check_precision(self) -> None:
        backbone = getattr(self.model, "backbone", None)
        if not isinstance(backbone, Backbone):
            return
        size = self.datamanager.height, self.datamanager.width
        images = torch.randn(
            self.train_loader.batch_size, 3, *size, generator=torch.Generator().manual_seed(0)
        )
        images = images.contiguous(memory_format=self.memory_format)
        if layer := wrong_layer(backbone, images, torch.arange(len(images)) % 2, self.dtype):
            console.say(
                f"This processor computes {layer} wrongly in {str(self.dtype).removeprefix('torch.')}, for images "
                f"of {size[0]} × {size[1]}: training in fp32"
            )
            self.dtype = torch.float32
            self.scaler = torch.amp.GradScaler(self.device.type, enabled=False)

    def autocast(self) -> torch.autocast:
        """The context in which the model computes."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32)

    def step(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Backpropagate the weighted sum of the losses and move the parameters.

        A step whose sum or gradient is NaN or infinite changes neither the parameters nor the state of the
        optimiser. Nothing waits for the device to find that out, but for an optimiser without a fused form.

        Args:
            values: a scalar for each of ``losses``.

        Returns:
            What to log: the sum as ``loss``, each of them, and ``nonfinite``, whether the step is left out.
        """
        if distributed.size() > 1 and not self._called:
            raise InputError(
                f"{type(self).__name__} calls self.model in training and not self.network, which averages over "
                "processes: start it without torchrun"
            )
        self._called = False
        total = torch.stack([values[name] * weight for name, (_, weight) in self.losses.items()]).sum()
        self.optimizer.zero_grad()
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        if distributed.size() > 1:
            self._check_all_are_averaged()
        total = total.detach()
        norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        if self.clip_grad > 0:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), self.clip_grad, norm)
        bad = ~(total.isfinite() & norm.isfinite())
        self._move_unless(bad)
        if self.scaler.is_enabled():  # too large a scale of the loss is no fault of the step
            bad = bad & ~(total.isfinite() & (self.scaler.scale(torch.ones_like(total)) > 1))
            self.scaler.update()
        for buffer, before in zip(self.model.buffers(), self._buffers, strict=False):
            buffer.copy_(torch.where(bad, before, buffer))
        return {
            "loss": total,
            **{name: value.detach() for name, value in values.items()},
            NONFINITE: bad,
        }

    def _move_unless(self, bad: Tensor) -> None:
        """Move the parameters unless the step is bad; a fused optimiser finds out on the device."""
        if self.optimizer.defaults.get("fused"):
            self.optimizer.grad_scale, self.optimizer.found_inf = None, bad.float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not bad:  # waits for the device
            self.optimizer.step()

    def _check_all_are_averaged(self) -> None:
        """Averaging the gradients of several processes waits for that of every parameter, forever for some."""
        absent = [name for name, p in self.model.named_parameters() if p.requires_grad and p.grad is None]
        if absent:
            raise InputError(
                f"no output of the model depends on {absent[0]}, whose gradient several processes wait for: choose "
                "another model.name, or start it without torchrun"
            )

    def parse_data_for_train(self, data: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (B, 3, H, W), identities (B,) and modality (B,), on the CPU; views are joined."""
        if self.skip_nonfinite:  # batch normalisation learns from a step that is left out, too
            self._buffers = [buffer.clone() for buffer in self.model.buffers()]
        views = data["img"] if isinstance(data["img"], list) else [data["img"]]
        images = views[0] if len(views) == 1 else torch.cat(views)
        images = images.to(self.device, non_blocking=True, memory_format=self.memory_format)
        pids = moved(data["pid"].repeat(len(views)), self.device)
        return images, pids, data["modality"].repeat(len(views))

    def whole(self, outputs: Any, *labels: Tensor) -> tuple[Any, ...]:
        """Outputs, a named tuple of tensors, and labels of the whole batch, of this process's share of it."""
        tensors = distributed.gather(*outputs, *labels)
        return type(outputs)(*tensors[: len(outputs)]), *tensors[len(outputs) :]

    def extra_state(self) -> dict[str, Any]:
        return {"scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        if state["scaler"]:  # nothing of a run that computes in another precision
            self.scaler.load_state_dict(state["scaler"])
        self.skipped = state["skipped"]


def read_by(loss: nn.Module) -> str:
    """The field of a model's output that a loss reads; one that does not say reads the embedding."""
    return getattr(loss, "on", "embedding")
