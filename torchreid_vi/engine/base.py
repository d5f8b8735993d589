"""What all engines share, put in front of one of torchreid's: repeatable epochs, atomic checkpoints,
and evaluation under protocols."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from torchreid_vi.data.datasets import VIDataset
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.evaluation import (
    PROTOCOLS,
    Protocol,
    Result,
    TestSet,
    choose,
    evaluate,
    format_table,
    trials,
)

CHECKPOINTS = "checkpoints"


class EngineMixin:
    """Goes before a torchreid engine in a class's bases; the training loop stays torchreid's.

    Every epoch begins by seeding all generators from the run's seed and the epoch's number and ends with
    ``checkpoints/last.pth``, so a run that was cut off and resumed is the run that was not. With a
    held-out validation split, ``checkpoints/best.pth`` is the epoch of the highest mAP on it; test data
    choose nothing.

    Args:
        *args, **kwargs: those of the torchreid engine.
        seed: of the run.
        protocols: names of the protocols to evaluate, of those the target's family has; its default
            ones when empty.
        flip: average each feature with that of the mirrored image.
    """

    def __init__(
        self, *args: Any, seed: int = 1, protocols: Sequence[str] = (), flip: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.seed, self.protocols, self.flip = seed, list(protocols), flip
        self.save_dir = Path("log")
        self.results: list[Result] = []
        self.best = -1.0  # mAP of the best epoch on the validation split
        self.progress: _Progress | None = None

    # Training

    def run(
        self: Any, save_dir: str = "log", max_epoch: int = 0, start_epoch: int = 0, **kwargs: Any
    ) -> None:
        """torchreid's ``run``; every argument is its."""
        self.save_dir = Path(save_dir)
        self.epoch = start_epoch - 1  # stays so when the run to resume was already complete
        self.progress = _Progress(self.train_loader, max_epoch - start_epoch)
        try:
            super().run(save_dir=save_dir, max_epoch=max_epoch, start_epoch=start_epoch, **kwargs)  # type: ignore[misc]
        finally:
            self.progress.close()

    def train(self: Any, *args: Any, **kwargs: Any) -> None:
        seed_everything(self.seed, self.epoch)
        loader, self.train_loader = self.train_loader, self.progress or self.train_loader
        try:
            super().train(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.train_loader = loader
        if getattr(self.datamanager, "val_loader", None):
            self._validate()
        self.save_model(self.epoch, None, self.save_dir)

    def _validate(self: Any) -> None:
        loaders = self.datamanager.val_loader
        self.set_model_mode("eval")
        features, test_set = self.extract([loaders["query"], loaders["gallery"]])
        family = PROTOCOLS["cross_modality"]
        protocol = {"infrared-to-visible": family["infrared-to-visible"]}
        result = evaluate(features, test_set, protocol, {"name": "validation", "split": "held out"})[0]
        score = result.mean("mAP")
        print(
            f"=> Validation: R1 {result.mean('R1'):.2f}, mAP {score:.2f} (best {max(self.best, score):.2f})"
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
        """Writes ``checkpoints/last.pth``; torchreid's own tools read it too."""
        self._save("last.pth", self._state(epoch, rank1))

    def _state(self: Any, epoch: int, rank1: float | None) -> dict[str, Any]:
        state = {
            "state_dict": self.model.state_dict(),
            "epoch": epoch + 1,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "best": self.best,
        }
        return state | self.extra_state() | ({} if rank1 is None else {"rank1": float(rank1)})

    def _save(self: Any, name: str, state: dict[str, Any]) -> None:
        folder = self.save_dir / CHECKPOINTS
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{name}.partial"
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / name)

    def extra_state(self) -> dict[str, Any]:
        """What else a checkpoint holds."""
        return {}

    def resume(self: Any, state: dict[str, Any]) -> int:
        """Continues from a checkpoint's content; returns the number of epochs it has behind it.

        Raises:
            InputError: when it is not a checkpoint of this model, optimiser and schedule.
        """
        try:
            self.model.load_state_dict(state["state_dict"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler:
                self.scheduler.load_state_dict(state["scheduler"])
            self.best = state.get("best", self.best)
            return int(state["epoch"])
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"model.resume does not fit this run ({reason}): use the run's own config.yaml"
            ) from error

    # Evaluation

    def check_targets(self: Any) -> set[str]:
        """Finds out before training whether every target can be evaluated after it.

        Returns:
            The families of protocols of the visible-infrared targets.

        Raises:
            InputError: for a protocol that no target has, or whose gallery cannot be drawn.
        """
        families: set[str] = set()
        for loaders in self.test_loader.values():
            datasets = [loader.dataset for loader in loaders.values()]
            if isinstance(datasets[0], VIDataset):
                families.add(datasets[0].protocols)
                test_set = describe(datasets)
                official = any(p.draw == "official" for p in PROTOCOLS[datasets[0].protocols].values())
                if official and test_set.permutations is None:
                    print("=> rand_perm_cam.mat is not there: only seeded galleries can be drawn")
                for name, protocol in self._choose(datasets[0], test_set).items():
                    print(f"=> Evaluation: {name}, {len(list(trials(protocol, test_set)))} trials")
        known = {name for family in families for name in PROTOCOLS[family]}
        for name in self.protocols:
            if name not in known:
                raise unknown_name("protocol in test.protocols", name, known)
        return families

    def _choose(self: Any, dataset: VIDataset, test_set: TestSet) -> dict[str, Protocol]:
        """The protocols of a target: those asked for that its family has, else its default ones."""
        names = [name for name in self.protocols if name in PROTOCOLS[dataset.protocols]]
        return choose(dataset.protocols, names, test_set)

    def test(self: Any, *args: Any, **kwargs: Any) -> float:
        self.results = []
        rank1 = super().test(*args, **kwargs)  # type: ignore[misc]
        if self.results:
            print(format_table(self.results))
        return rank1

    def _evaluate(
        self: Any,
        dataset_name: str = "",
        query_loader: Any = None,
        gallery_loader: Any = None,
        dist_metric: str = "euclidean",
        normalize_feature: bool = False,
        **kwargs: Any,
    ) -> tuple[float, float]:
        dataset = query_loader.dataset
        if not isinstance(dataset, VIDataset):  # one of torchreid's own, under torchreid's own protocol
            return super()._evaluate(  # type: ignore[misc]
                dataset_name, query_loader, gallery_loader, dist_metric, normalize_feature, **kwargs
            )
        features, test_set = self.extract([query_loader, gallery_loader])
        protocols = self._choose(dataset, test_set)
        about = {"name": dataset_name, "synthetic": dataset.synthetic, "split": dataset.split_id}
        results = evaluate(features, test_set, protocols, about, dist_metric, normalize_feature, self.flip)
        self.results += results
        return results[0].mean("R1") / 100, results[0].mean("mAP") / 100

    @torch.inference_mode()
    def extract(self: Any, loaders: Sequence[DataLoader]) -> tuple[np.ndarray, TestSet]:
        """Features (N, D) of every image of the loaders, and what the images are."""
        parts = []
        for loader in loaders:
            for batch in tqdm(loader, desc="extracting features", unit="batch", leave=False):
                images, modality = batch["img"], batch["modality"]
                if self.use_gpu:
                    images, modality = images.cuda(), modality.cuda()
                features = self.embed(images, modality)
                if self.flip:
                    features = (features + self.embed(images.flip(-1), modality)) / 2
                parts.append(features.float().cpu())
        features = torch.cat(parts).numpy()
        if not np.isfinite(features).all():
            raise InputError("the model's features hold NaN or infinity: training diverged; lower train.lr")
        return features, describe([cast(VIDataset, loader.dataset) for loader in loaders])

    def embed(self: Any, images: Tensor, modality: Tensor) -> Tensor:
        """Features of a batch; torchreid's models know no modality."""
        return self.model(images)

    def write_results(self: Any, path: Path) -> None:
        """Writes the results of the last test as JSON, whole or not at all."""
        content = {"epoch": self.epoch + 1, "results": [result.as_dict() for result in self.results]}
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(path)


def seed_everything(seed: int, epoch: int) -> None:
    """Seeds Python's, NumPy's and PyTorch's generators from a run's seed and an epoch's number."""
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    random.seed(state)
    np.random.seed(state)
    torch.manual_seed(state)


def describe(datasets: Sequence[VIDataset]) -> TestSet:
    """What the images of some views of one dataset are, in their order."""
    items = [item for dataset in datasets for item in dataset.data]
    return TestSet(
        pids=np.array([item[1] for item in items]),
        cameras=np.array([item[2] for item in items]),
        numbers=np.concatenate([dataset.image_numbers(dataset.data) for dataset in datasets]),
        table=datasets[0].cameras,
        permutations=datasets[0].gallery_permutations(),
    )


class _Progress:
    """A loader that moves one bar over all epochs as its batches are taken."""

    def __init__(self, loader: DataLoader, epochs: int) -> None:
        self.loader, self.epochs = loader, epochs
        self.bar = tqdm(
            total=max(epochs, 0) * len(loader), desc="training", unit="batch", disable=epochs <= 0
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            yield batch
            self.bar.update()
        self.epochs -= 1
        # Some samplers promise more batches than they draw.
        self.bar.total = self.bar.n + self.epochs * (self.bar.n // max(1, self.bar.n // len(self.loader)))

    def close(self) -> None:
        self.bar.close()
