"""What all engines share, put in front of one of torchreid's: repeatable epochs and whole checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from torchreid_vi import console, distributed, files, stopping
from torchreid_vi.engine.evaluating import EvaluationMixin
from torchreid_vi.engine.logs import refused_logging_is_said_once
from torchreid_vi.engine.progress import Progress
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation import PROTOCOLS, Reranking, evaluate

CHECKPOINTS = "checkpoints"
LAST, PREVIOUS = "last.pth", "previous.pth"
_TOO_SMALL = ("Output size is too small", "can't be greater than actual input size")  # PyTorch's words


class EngineMixin(EvaluationMixin):
    """Goes before a torchreid engine in a class's bases; the training loop stays torchreid's.

    Every step begins by seeding all generators from the run's seed, the epoch and the step; every epoch ends with
    ``checkpoints/last.pth``; the one before it stays as ``previous.pth``. A signal that ends the run lets the
    step under way finish and saves it, too. So a run that was cut off and resumed is the run that was not. With a
    held-out validation split, ``checkpoints/best.pth`` is the epoch of the highest mAP on it, infrared
    against visible by the cosine; test data choose nothing.

    Args:
        *args: those of the torchreid engine.
        **kwargs: likewise.
        seed: of the run.
        protocols: names of the protocols to evaluate, of those the target's family has; its default
            ones when empty.
        flip: average each feature with that of the mirrored image.
        rerankings: each adds a result to that of every protocol.
        settings: what a run that continues this one has to share; kept in its checkpoints.
    """

    def __init__(
        self,
        *args: Any,
        seed: int = 1,
        protocols: Sequence[str] = (),
        flip: bool = False,
        rerankings: Sequence[Reranking] = (),
        settings: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings or {}
        self.seed, self.protocols, self.flip = seed, list(protocols), flip
        self.rerankings = list(rerankings)
        self.save_dir = Path("log")
        self.results = []
        self.best = -1.0  # mAP of the best epoch on the validation split
        self.cost = {"seconds": 0.0, "images": 0}  # of training so far, before a break too
        self.progress = Progress(self.train_loader, seed, 0)
        self.start_step = 0  # of the first epoch that ``run`` trains

    # Training

    def run(
        self: Any, save_dir: str = "log", max_epoch: int = 0, start_epoch: int = 0, **kwargs: Any
    ) -> None:
        """torchreid's ``run``; every argument is its."""
        self.save_dir = Path(save_dir)
        self.epoch = start_epoch - 1  # stays so when the run to resume was already complete
        epochs = 0 if kwargs.get("test_only") else max(max_epoch - start_epoch, 0)
        self.progress = Progress(self.train_loader, self.seed, epochs)
        begun = start_epoch * len(self.train_loader) + self.start_step
        own = {"save_dir": save_dir, "max_epoch": max_epoch, "start_epoch": start_epoch}
        with refused_logging_is_said_once(self.save_dir):
            try:
                if epochs and self.writer is None:
                    # What a run that was cut off logged beyond `begun` is void.
                    self.writer = SummaryWriter(log_dir=save_dir, purge_step=begun)
                super().run(**own, **kwargs)  # type: ignore[misc]
            except RuntimeError as error:
                if not any(said in str(error) for said in _TOO_SMALL):
                    raise
                raise InputError(
                    "the images are too small for this model: raise data.height and data.width"
                ) from error
            finally:
                self.progress.close()
                if self.writer is not None:
                    with suppress(OSError):
                        self.writer.close()

    def train(self: Any, *args: Any, **kwargs: Any) -> None:
        with stopping.deferred():
            try:
                self._train(*args, **kwargs)
            except stopping.Stopped:
                if self.progress.waiting:
                    self._save(LAST, self._state(self.epoch - 1, None) | {"step": self.progress.done})
                    console.say(f"Saved after {self.progress.done} batches of epoch {self.epoch + 1}")
                raise
            if getattr(self.datamanager, "val_loader", None):
                self._validate()
            self.save_model(self.epoch, None, self.save_dir)

    def _train(self: Any, *args: Any, **kwargs: Any) -> None:
        step, self.start_step = self.start_step, 0
        if not step:
            self.begin_epoch()
        self.progress.begin(self.epoch, step)
        loader, self.train_loader = self.train_loader, self.progress
        begun, seen = time.perf_counter(), self.progress.images
        try:
            super().train(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.train_loader = loader
            self.cost["seconds"] += time.perf_counter() - begun
            self.cost["images"] += self.progress.images - seen

    def begin_epoch(self) -> None:
        """What an engine does before the first step of an epoch, and not when it goes on within one."""

    @property
    def batch_idx(self) -> int:
        """The number of the batch in its epoch, from 0; torchreid counts those that it is given."""
        return self._batch_idx

    @batch_idx.setter
    def batch_idx(self, given: int) -> None:
        self._batch_idx = self.progress.skipped + given

    def _validate(self: Any) -> None:
        loaders = self.datamanager.val_loader
        self.set_model_mode("eval")
        features, test_set = self.extract([loaders["query"], loaders["gallery"]])
        if distributed.rank():
            return
        family = PROTOCOLS["cross_modality"]
        protocol = {"infrared-to-visible": family["infrared-to-visible"]}
        result = evaluate(features, test_set, protocol, {"name": "validation", "split": "held out"})[0]
        score = result.mean("mAP")
        console.say(
            f"Validation: R1 {result.mean('R1'):.2f}, mAP {score:.2f} (best {max(self.best, score):.2f})"
        )
        if self.writer is not None:
            self.writer.add_scalar("Validation/mAP", score, self.epoch)
        if score > self.best:
            self.best = score
            self._save("best.pth", self._state(self.epoch, None))

    def keep_nonfinite(self: Any, wrong: Sequence[str]) -> str:
        """Writes the batch under way, of every process its share, and the model's weights, from which its step
        can be repeated.

        Args:
            wrong: what is NaN or infinite, in words.

        Returns:
            Where in the run that was and where it is kept, in words.
        """
        number = self.progress.done + 1
        name = f"nonfinite-{self.epoch + 1}-{number}.pth"
        batches = distributed.to_first(self.progress.batch)

        def keep() -> str:
            self.save_dir.mkdir(parents=True, exist_ok=True)
            with files.whole(self.save_dir / name) as file:
                torch.save({"batches": batches, "state_dict": self.model.state_dict()}, file)
            return str(self.save_dir / name)

        more = f" and {len(wrong) - 2} more" if len(wrong) > 2 else ""
        kept = distributed.from_first(keep)
        return f"epoch {self.epoch + 1}, batch {number}: {', '.join(wrong[:2])}{more}; kept in {kept}"

    def diverged(self: Any, kept: str, remedy: str = "") -> InputError:
        """What ends a run.

        Args:
            kept: what :meth:`keep_nonfinite` returned.
            remedy: with which the run may go on from its last checkpoint.
        """
        last = distributed.from_first(lambda: self.save_dir / CHECKPOINTS / LAST)
        onward = f" and continue with model.resume {last}" if last.is_file() else ""
        return InputError(f"{kept}; {remedy and f'{remedy}{onward}, or '}start again with a lower train.lr")

    # Checkpoints

    def save_model(
        self: Any, epoch: int, rank1: float | None, save_dir: str | Path, is_best: bool = False
    ) -> None:
        """Writes ``checkpoints/last.pth``, in the first process; torchreid's own tools read it too."""
        self._save(LAST, self._state(epoch, rank1))

    def _state(self: Any, epoch: int, rank1: float | None) -> dict[str, Any]:
        state = {
            "state_dict": self.model.state_dict(),
            "epoch": epoch + 1,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "best": self.best,
            "cost": self.cost,
            "settings": self.settings,
        }
        return state | self.extra_state() | ({} if rank1 is None else {"rank1": float(rank1)})

    def _save(self: Any, name: str, state: dict[str, Any]) -> None:
        if distributed.rank():
            return
        for weight, value in state["state_dict"].items():
            if value.is_floating_point() and not value.isfinite().all():
                raise InputError(
                    f"{weight} holds NaN or infinity after epoch {self.epoch + 1}, which is not saved: start again "
                    "with a lower train.lr"
                )
        folder = self.save_dir / CHECKPOINTS
        folder.mkdir(parents=True, exist_ok=True)
        with files.whole(folder / name, folder / PREVIOUS if name == LAST else None) as file:
            torch.save(state, file)

    def extra_state(self) -> dict[str, Any]:
        """What else a checkpoint holds."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restores what :meth:`extra_state` returned from a checkpoint's content."""

    def resume(self: Any, state: dict[str, Any]) -> int:
        """Continues from a checkpoint's content; returns the number of whole epochs it has behind it.

        Raises:
            InputError: when it is not a checkpoint of this model, optimiser and schedule, or was made with
                other settings.
        """
        before = state.get("settings", {})
        for key, value in self.settings.items():
            if before.get(key, value) != value:
                raise InputError(
                    f"model.resume: {key} was {before[key]} and is {value}; use the run's own config.yaml"
                )
        try:
            self.model.load_state_dict(state["state_dict"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler:
                self.scheduler.load_state_dict(state["scheduler"])
            self.load_extra_state(state)
            self.best = float(state.get("best", self.best))
            cost = state.get("cost", self.cost)
            self.cost = {"seconds": float(cost["seconds"]), "images": int(cost["images"])}
            self.start_step = int(state.get("step", 0))
            if not 0 <= self.start_step <= len(self.train_loader):
                raise ValueError(f"{self.start_step} batches of an epoch of {len(self.train_loader)}")
            return int(state["epoch"])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"model.resume does not fit this run ({reason}): use the run's own config.yaml"
            ) from error
