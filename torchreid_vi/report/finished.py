"""Open a finished run again: its settings, its results, and its model on its data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from torchreid_vi import build, config, console
from torchreid_vi.data.datasets import VIDataset
from torchreid_vi.data.datasets.base import Item
from torchreid_vi.data.images import dataset_image
from torchreid_vi.engine import CHECKPOINTS, LAST
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation import PROTOCOLS, Protocol, Ranking, TestSet, rank, trials
from torchreid_vi.evaluation.draws import Trial, excluded
from torchreid_vi.evaluation.evaluate import distance_matrix
from torchreid_vi.folders import expanded
from torchreid_vi.models import read_checkpoint
from torchreid_vi.runs import content
from torchreid_vi.seeds import seed_everything


@dataclass(frozen=True)
class Ranked:
    """The first gallery draw of the run's first protocol.

    Attributes:
        protocol: The protocol.
        trial: Places of queries and gallery in ``items``.
        order: The gallery by distance for each query (Q, G), with what is hidden from a query at the end.
        shown: Number of gallery images that each query is compared with (Q,).
        ranking: Ranking of the queries that have a match.
    """

    protocol: Protocol
    trial: Trial
    order: np.ndarray
    shown: np.ndarray
    ranking: Ranking


class FinishedRun:
    """A run folder with its model on its data.

    Args:
        folder: Folder with ``config.yaml``, ``results.json`` and ``checkpoints/last.pth``.
        root: Folder of the datasets, if they have moved.

    Attributes:
        cfg: Settings of the run.
        content: Content of ``results.json``.

    Raises:
        InputError: For a folder that is no finished run, or data that are missing.
    """

    def __init__(self, folder: str | Path, root: str = "") -> None:
        self.folder = expanded(folder)
        self.weights = self.folder / CHECKPOINTS / LAST
        for path in (self.folder / "config.yaml", self.folder / "results.json", self.weights):
            if not path.is_file():
                raise InputError(f"{self.folder} is no finished run, {path.name} is missing: name another")
        overrides = {"model.pretrained": False, "model.load_weights": "", "test.evaluate": False}
        overrides |= {"data.root": root} if root else {}
        self.cfg: CfgNode = config.load_config(str(self.folder / "config.yaml"), overrides)
        self.content = content(self.folder)
        if not {"training", "epoch"} <= self.content.keys() or not self.content["results"]:
            raise InputError(f"{self.folder}/results.json is damaged: remove it, and train again")

    @cached_property
    def engine(self) -> Any:
        """Engine with the trained model in evaluation mode."""
        use_gpu = torch.cuda.is_available()
        seed_everything(self.cfg.train.seed)
        with console.muted():  # the run has logged its data
            manager = build.build_datamanager(self.cfg, use_gpu)
        method = build.build_method(self.cfg, manager.num_train_pids)
        try:
            method.network.load_state_dict(read_checkpoint(self.weights)["state_dict"])
        except (KeyError, RuntimeError) as error:
            raise InputError(
                f"{self.weights} is not of the model in {self.folder}/config.yaml, or not of the people under "
                f"{self.cfg.data.root}: name the data that it was trained on with --root"
            ) from error
        engine = build.build_engine(self.cfg, manager, method.cuda() if use_gpu else method, use_gpu)
        engine.set_model_mode("eval")
        return engine

    @cached_property
    def target(self) -> list[Any]:
        """Loaders of query and gallery of the first visible-infrared target."""
        for loaders in self.engine.test_loader.values():
            if isinstance(loaders["query"].dataset, VIDataset):
                return [loaders["query"], loaders["gallery"]]
        raise InputError(f"{self.folder} was tested on no visible-infrared dataset: name another run")

    @cached_property
    def items(self) -> list[Item]:
        """Items of the test images (N)."""
        return [item for loader in self.target for item in loader.dataset.data]

    @cached_property
    def _extracted(self) -> tuple[np.ndarray, TestSet]:
        return self.engine.evaluator.features(self.target)  # type: ignore[no-any-return]

    @cached_property
    def features(self) -> np.ndarray:
        """L2-normalised features of the test images (N, D)."""
        features = self._extracted[0]
        return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)

    @property
    def test_set(self) -> TestSet:
        """Identities and cameras of the test images."""
        return self._extracted[1]

    @cached_property
    def ranked(self) -> Ranked:
        """The first gallery draw of the first protocol, ranked by the cosine."""
        name = self.content["results"][0]["protocol"]["name"]
        protocol = PROTOCOLS[self.target[0].dataset.protocols][name]
        trial = next(iter(trials(protocol, self.test_set)))
        distances = distance_matrix(self.features[trial.query], self.features[trial.gallery], "cosine")
        hidden = excluded(protocol, self.test_set, trial.query, trial.gallery)
        shown = np.full(len(distances), distances.shape[1])
        if hidden is not None:
            distances, shown = np.where(hidden, np.inf, distances), (~hidden).sum(1)
        pids = self.test_set.pids
        ranking = rank(distances, pids[trial.query], pids[trial.gallery], hidden, protocol.unique_ids)
        return Ranked(protocol, trial, np.argsort(distances, axis=1, kind="stable"), shown, ranking)

    def image(self, number: int) -> Any:
        """Return a test image as it is on disk."""
        return dataset_image(self.items[number][0], self.target[0].dataset.thermal)

    @torch.inference_mode()
    def activations(self, numbers: list[int]) -> Tensor:
        """Return the root mean square over channels of the backbone's maps (N, H′, W′) of some test images.

        Raises:
            AttributeError: For a model without a backbone of this package.
        """
        engine = self.engine
        device = next(engine.model.parameters()).device
        images = torch.stack([engine.datamanager.transform_te(self.image(number)) for number in numbers])
        modality = torch.from_numpy(self.test_set.of("modality")[numbers])
        maps: Tensor = engine.model.backbone(images.to(device), modality.to(device))
        return maps.float().square().mean(1).sqrt().cpu()
