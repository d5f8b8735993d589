"""What all engines share, put in front of one of torchreid's: repeatable epochs and whole checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from torchreid_vi import console, distributed, files, stopping
from torchreid_vi.engine.evaluating import EvaluationMixin
from torchreid_vi.engine.logs import refused_logging_is_said_once
from torchreid_vi.engine.loop import NONFINITE, Readback, Step
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation import PROTOCOLS, Reranking, evaluate
from torchreid_vi.seeds import seed_everything

CHECKPOINTS = "checkpoints"
LAST, PREVIOUS = "last.pth", "previous.pth"
_NAMED = 2  # images of a batch that is not finite
_TOO_SMALL = ("Output size is too small", "can't be greater than actual input size")  # PyTorch's words


class EngineMixin(EvaluationMixin):
    """Goes before a torchreid engine in a class's bases: torchreid's ``run`` with our loop over an epoch's steps.

    Every step begins by seeding all generators from the run's seed, the epoch and the step; every epoch ends with
    ``checkpoints/last.pth``; the one before it stays as ``previous.pth``. A signal that ends the run lets the
    step under way finish and saves it, too. So a run that was cut off and resumed is the run that was not. With a
    held-out validation split, ``checkpoints/best.pth`` is the epoch of the highest mAP on it, infrared
    against visible by the cosine; test data choose nothing.

    The values that ``forward_backward`` returns are read when the next step has been enqueued, and their means are
    logged after each epoch. A step whose loss or gradient is NaN or infinite is reported then.

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

    skip_nonfinite = 0  # steps that may be left out
    skipped = 0  # steps that were

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
        self.done = 0  # steps of this epoch, before a break too
        self.sums: dict[str, float] = {}  # of the values of these steps
        self.counted = 0  # steps in these sums

    # Training

    def run(
        self: Any, save_dir: str = "log", max_epoch: int = 0, start_epoch: int = 0, **kwargs: Any
    ) -> None:
        """torchreid's ``run``; every argument is its."""
        self.save_dir = Path(save_dir)
        self.epoch = start_epoch - 1  # stays so when the run to resume was already complete
        epochs = 0 if kwargs.get("test_only") else max(max_epoch - start_epoch, 0)
        own = {"save_dir": save_dir, "max_epoch": max_epoch, "start_epoch": start_epoch}
        steps = epochs * len(self.train_loader)
        self._start_momentum()
        with (
            refused_logging_is_said_once(self.save_dir),
            console.progress(what="training", unit="step", total=steps, shown=epochs > 0) as self.bar,
        ):
            self.bar.update(self.done)
            try:
                if epochs and self.writer is None:
                    # What a run that was cut off logged of this epoch is void.
                    self.writer = SummaryWriter(log_dir=save_dir, purge_step=start_epoch)
                super().run(**own, **kwargs)  # type: ignore[misc]
            except RuntimeError as error:
                if not any(said in str(error) for said in _TOO_SMALL):
                    raise
                raise InputError(
                    "the images are too small for this model: raise data.height and data.width"
                ) from error
            finally:
                if self.writer is not None:
                    with suppress(OSError):
                        self.writer.close()

    def _start_momentum(self: Any) -> None:
        """Start the momentum of SGD at zero, which its fused form leaves undefined in a step that it skips."""
        if isinstance(self.optimizer, torch.optim.SGD) and self.optimizer.defaults["fused"]:
            for group in self.optimizer.param_groups:
                for parameter in group["params"] if group["momentum"] else ():
                    state = self.optimizer.state[parameter]
                    state.setdefault("momentum_buffer", torch.zeros_like(parameter))

    def train(
        self: Any, print_freq: int = 0, fixbase_epoch: int = 0, open_layers: Sequence[str] | None = None
    ) -> None:
        """Train for an epoch, as torchreid's ``run`` asks; ``print_freq`` has no effect."""
        self.set_model_mode("train")
        self.two_stepped_transfer_learning(self.epoch, fixbase_epoch, open_layers)
        # Where processes work together, torchrun sends the signals, and a single one cannot finish a step.
        with stopping.handled() if distributed.size() == 1 else nullcontext():
            images, seconds = self._take_steps()
            self.cost = {"seconds": self.cost["seconds"] + seconds, "images": self.cost["images"] + images}
            if stopping.requested():
                place = {"step": self.done, "sums": self.sums, "counted": self.counted}
                self._save(LAST, self._state(self.epoch - 1, None) | place)
                console.say(f"Saved after {self.done} steps of epoch {self.epoch + 1}")
                return
            self._log(images / seconds if images else math.nan)
            # Some samplers promise more batches than they draw.
            self.bar.total = self.bar.n + (self.max_epoch - self.epoch - 1) * self.done
            self.done, self.sums, self.counted = 0, {}, 0
            self.update_lr()
            if getattr(self.datamanager, "val_loader", None):
                self._validate()
            if self.writer is not None:
                self.writer.flush()
            self.save_model(self.epoch, None, self.save_dir)

    def _take_steps(self: Any) -> tuple[int, float]:
        """Take the steps of the epoch that are left, until a signal comes; return images and seconds."""
        if not self.done:
            self.begin_epoch()
        begun, images, readback = time.perf_counter(), 0, Readback()
        self.train_loader.set_epoch(self.epoch, self.done)
        for data in self.train_loader:
            seed_everything(self.seed, self.epoch, self.done)
            values = self.forward_backward(data)
            self.done += 1
            self._count(readback.push(self.done, data["impath"], values))
            images += len(data["pid"]) * distributed.size()
            self.bar.update()
            if stopping.requested():
                break
        self._count(readback.pop())
        return images, time.perf_counter() - begun

    def begin_epoch(self) -> None:
        """What an engine does before the first step of an epoch, and not when it goes on within one."""

    def _count(self, step: Step | None) -> None:
        """Add the values of a step to the epoch's sums; report a step that is not finite.

        Raises:
            InputError: When more than ``skip_nonfinite`` steps are not, or the weights have been moved by one.
        """
        if step is None:
            return
        values = dict(step.values)
        wrong = [f"{name} is {value:.3g}" for name, value in values.items() if not math.isfinite(value)]
        kept_from_weights = NONFINITE in values
        if not values.pop(NONFINITE, wrong):
            self.counted += 1
            self.sums = {name: self.sums.get(name, 0.0) + value for name, value in values.items()}
            return
        paths = list(dict.fromkeys(step.files))  # one of several views is enough
        more = len(paths) * distributed.size() - _NAMED
        said = (
            f"epoch {self.epoch + 1}, step {step.number}: {', '.join(wrong) or 'the gradient is not finite'}, for "
            f"{', '.join(paths[:_NAMED])}" + (f" and {more} more images" if more > 0 else "")
        )
        self.skipped += 1
        if self.skipped <= self.skip_nonfinite:
            console.say(f"Left out {said}")
            return
        last, remedy = self.save_dir / CHECKPOINTS / LAST, ""
        if kept_from_weights:
            onward = f" and continue with model.resume {last}" if last.is_file() else ""
            remedy = f"set train.skip_nonfinite{onward}, or "
        raise InputError(f"{said}; {remedy}start again with a lower train.lr")

    def _log(self: Any, images_per_second: float) -> None:
        """Log the means of the epoch's values."""
        means = {name: value / self.counted for name, value in self.sums.items()}
        lr = self.get_current_lr()
        said = ", ".join(f"{name} {value:.4g}" for name, value in means.items()) or "no step counts"
        console.say(
            f"Epoch {self.epoch + 1} of {self.max_epoch}: {said}; lr {lr:.4g}; {images_per_second:.0f} images/s"
        )
        for name, value in (means | {"lr": lr, "images_per_second": images_per_second}).items():
            if self.writer is not None and math.isfinite(value):
                self.writer.add_scalar(f"Train/{name}", value, self.epoch)

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
            for parameter, moments in self.optimizer.state.items():  # of another memory format perhaps
                for name, value in moments.items():
                    if value.shape == parameter.shape:
                        moments[name] = torch.empty_like(parameter).copy_(value)
            if self.scheduler:
                self.scheduler.load_state_dict(state["scheduler"])
            self.load_extra_state(state)
            self.best = float(state.get("best", self.best))
            cost = state.get("cost", self.cost)
            self.cost = {"seconds": float(cost["seconds"]), "images": int(cost["images"])}
            self.done, self.counted = int(state.get("step", 0)), int(state.get("counted", 0))
            self.sums = {name: float(value) for name, value in state.get("sums", {}).items()}
            if not 0 <= self.counted <= self.done <= len(self.train_loader):
                raise ValueError(f"{self.done} steps of an epoch of {len(self.train_loader)}")
            return int(state["epoch"])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"model.resume does not fit this run ({reason}): use the run's own config.yaml"
            ) from error
