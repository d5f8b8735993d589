"""Checkpoints: a run's state, saved atomically and restored bit for bit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from torchreid_vi import distributed, files
from torchreid_vi.engine.readback import NONFINITE
from torchreid_vi.engine.step import OptimisationStep
from torchreid_vi.errors import InputError

CHECKPOINTS = "checkpoints"
LAST, PREVIOUS, BEST = "last.pth", "previous.pth", "best.pth"


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: Whole epochs.
        step: Steps of the epoch after them.
        sums: Sums of what these steps logged, by name.
        counted: Steps in these sums.
        skipped: Steps of the run that were left out.
        seconds: Seconds of training.
        images: Images trained on.
        best: Best mAP on the validation split, -1 before the first.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    skipped: int = 0
    seconds: float = 0.0
    images: int = 0
    best: float = -1.0

    def count(self, values: dict[str, float]) -> bool:
        """Add a step's values to the sums; return False, and count it as skipped, if it was left out."""
        values = dict(values)
        if values.pop(NONFINITE):
            self.skipped += 1
            return False
        self.counted += 1
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in values.items()}
        return True

    def end_epoch(self) -> dict[str, float]:
        """Begin the next epoch; return the means of the values of this one."""
        means = {name: value / self.counted for name, value in self.sums.items()}
        self.epoch, self.step, self.sums, self.counted = self.epoch + 1, 0, {}, 0
        return means

    @classmethod
    def read(cls, state: dict[str, Any], steps: int) -> Progress:
        """Return what a checkpoint says, of epochs of so many steps.

        Raises:
            KeyError, TypeError, ValueError: For a state that no run can be in.
        """
        found = cls(
            **{name: type(default)(state[name]) for name, default in asdict(cls()).items() if name != "sums"},
            sums={name: float(value) for name, value in state["sums"].items()},
        )
        if not 0 <= found.counted <= found.step <= steps or found.epoch < 0:
            raise ValueError(f"{found.step} steps of an epoch of {steps}")
        return found


class Checkpoints:
    """Saves and restores a run; the files load with ``torch.load(weights_only=True)`` and torchreid's own tools.

    Args:
        step: Holds the network, the optimiser and the loss scale.
        scheduler: Schedule of the learning rate; may be None.
        settings: Settings that a run which continues this one has to share.
    """

    def __init__(self, step: OptimisationStep, scheduler: Any, settings: dict[str, Any]) -> None:
        self.step, self.scheduler, self.settings = step, scheduler, settings

    def save(self, folder: Path, name: str, progress: Progress, rank1: float | None = None) -> None:
        """Write a checkpoint into a run's folder, in the first process; ``last.pth`` becomes ``previous.pth``.

        Raises:
            InputError: For weights that hold NaN or infinity.
        """
        if distributed.rank():
            return
        weights = self.step.method.network.state_dict()
        for weight, value in weights.items():
            if value.is_floating_point() and not value.isfinite().all():
                raise InputError(
                    f"{weight} holds NaN or infinity after epoch {progress.epoch}, which is not saved: start again "
                    "with a lower train.lr"
                )
        state = {
            "state_dict": weights,
            "optimizer": self.step.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "scaler": self.step.scaler.state_dict(),
            "settings": self.settings,
            **asdict(progress),
        }
        folder = folder / CHECKPOINTS
        folder.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(folder / name, folder / PREVIOUS if name == LAST else None) as file:
            torch.save(state | ({} if rank1 is None else {"rank1": float(rank1)}), file)

    def restore(self, state: dict[str, Any], steps: int) -> Progress:
        """Restore a run from a checkpoint's content, with epochs of so many steps.

        Raises:
            InputError: When it is not a checkpoint of this model, optimiser and schedule, or was made with
                other settings.
        """
        before = state.get("settings", {})
        for key, value in self.settings.items():
            if before.get(key, value) != value:
                raise InputError(
                    f"model.resume: {key} was {before[key]} and is {value}; use the run's own config.yaml"
                )
        try:
            self.step.method.network.load_state_dict(state["state_dict"])
            self._restore_optimizer(state["optimizer"])
            if self.scheduler:
                self.scheduler.load_state_dict(state["scheduler"])
            if state["scaler"]:  # empty if the run began in another precision
                self.step.scaler.load_state_dict(state["scaler"])
            return Progress.read(state, steps)
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"model.resume does not fit this run ({reason}): use the run's own config.yaml"
            ) from error

    def _restore_optimizer(self, state: dict[str, Any]) -> None:
        optimizer = self.step.optimizer
        optimizer.load_state_dict(state)
        for parameter, moments in optimizer.state.items():  # of another memory format perhaps
            for name, value in moments.items():
                if value.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter).copy_(value)
