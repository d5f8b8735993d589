"""One optimisation step: forward in any precision, backward, clipping, and an update that NaN never reaches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from torchreid_vi import distributed
from torchreid_vi.engine.precision import dtype_of, memory_format_of
from torchreid_vi.engine.readback import NONFINITE
from torchreid_vi.errors import InputError
from torchreid_vi.methods import Batch, Method


class OptimisationStep:
    """Calling it with a batch trains a method by one step.

    Args:
        method: On the device that trains.
        optimizer: Optimiser of its network's parameters; one with ``fused=True`` does not wait for the device.
        device: Where to train.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto``: on a GPU bf16 where it has it and fp16
            otherwise, on a CPU fp32. Losses are always computed in full precision.
        memory_format: How images and weights lie in memory: ``channels_last``, ``contiguous``, or ``auto``, the
            first on a GPU and the second on a CPU.
        compile: Compile the network when it is first called.
        sync_bn: Batch normalisation over the shares of all processes, on GPUs.
        clip_grad: Largest norm of the gradient, 0 for no limit.
        restores: Whether a step that is left out has to leave the buffers as they were, too.

    Raises:
        InputError: For an unknown precision or format, and for ``sync_bn`` among processes without GPUs.
    """

    def __init__(
        self,
        method: Method,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        precision: str = "auto",
        memory_format: str = "auto",
        compile: bool = False,
        sync_bn: bool = False,
        clip_grad: float = 0.0,
        restores: bool = False,
    ) -> None:
        several = distributed.size() > 1
        if sync_bn and several:
            if device.type == "cpu":
                raise InputError("train.sync_bn is for GPUs, and there is none: leave it False")
            method.network = nn.SyncBatchNorm.convert_sync_batchnorm(method.network)
        self.method, self.optimizer, self.device = method, optimizer, device
        self.memory_format = memory_format_of(memory_format, device)
        self.clip_grad, self.restores = clip_grad, restores
        method.network.to(memory_format=self.memory_format)
        if compile:
            method.network.compile()
        self._start_momentum()
        self.dtype = dtype_of(precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype is torch.float16)
        self._train: nn.Module = DistributedDataParallel(method) if several else method

    def _start_momentum(self) -> None:
        """Start the momentum of SGD at zero, which its fused form leaves undefined in a step that it skips."""
        if isinstance(self.optimizer, torch.optim.SGD) and self.optimizer.defaults["fused"]:
            for group in self.optimizer.param_groups:
                for parameter in group["params"] if group["momentum"] else ():
                    state = self.optimizer.state[parameter]
                    state.setdefault("momentum_buffer", torch.zeros_like(parameter))

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Backpropagate the weighted sum of the losses and move the parameters.

        A step whose sum or gradient is NaN or infinite changes neither the parameters nor the state of the
        optimiser. Nothing waits for the device to find that out, but for an optimiser without a fused form.

        Returns:
            What to log: the sum as ``loss``, each loss, the method's metrics, and ``nonfinite``, whether the step
            is left out.
        """
        network = self.method.network
        before = [buffer.clone() for buffer in network.buffers()] if self.restores else []
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            losses, metrics = self._train(batch)
        total = torch.stack([losses[name] * weight for name, (_, weight) in self.method.losses.items()]).sum()
        self.optimizer.zero_grad()
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        if distributed.size() > 1:
            _require_gradients(network)
        total = total.detach()
        groups = self.optimizer.param_groups
        parameters = [p for group in groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        if self.clip_grad > 0:
            nn.utils.clip_grads_with_norm_(parameters, self.clip_grad, norm)
        bad = ~(total.isfinite() & norm.isfinite())
        self._move_unless(bad)
        if self.scaler.is_enabled():  # too large a scale of the loss is no fault of the step
            bad = bad & ~(total.isfinite() & (self.scaler.scale(torch.ones_like(total)) > 1))
            self.scaler.update()
        for buffer, old in zip(network.buffers(), before, strict=False):
            buffer.copy_(torch.where(bad, old, buffer))
        detached = {name: value.detach() for name, value in (losses | metrics).items()}
        return {"loss": total, **detached, NONFINITE: bad}

    def _move_unless(self, bad: Tensor) -> None:
        """Move the parameters unless the step is bad; a fused optimiser finds out on the device."""
        if self.optimizer.defaults.get("fused"):
            self.optimizer.grad_scale, self.optimizer.found_inf = None, bad.float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not bad:  # waits for the device
            self.optimizer.step()


def _require_gradients(network: nn.Module) -> None:
    """Refuse parameters without a gradient, for which averaging over processes would wait forever."""
    absent = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    if absent:
        raise InputError(
            f"no output of the model depends on {absent[0]}, whose gradient several processes wait for: choose "
            "another model.name, or start it without torchrun"
        )
