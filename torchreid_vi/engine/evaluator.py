"""Evaluate a target: extract its features once, then apply its protocols."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from torchreid_vi import console, distributed
from torchreid_vi.data.datasets import VIDataset
from torchreid_vi.data.loader import TestLoader
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.evaluation import (
    PROTOCOLS,
    Protocol,
    Reranking,
    Result,
    TestSet,
    choose,
    evaluate,
    require_matches,
    trials,
)
from torchreid_vi.methods.embedder import Embedder
from torchreid_vi.modality import Modality

log = logging.getLogger(__name__)


class Evaluator:
    """Evaluates features under the protocols of visible-infrared datasets.

    Args:
        embedder: Computes the features of images.
        protocols: Names of the protocols to evaluate, of those the target's family has; its default
            ones when empty.
        rerankings: Each adds a result to that of every protocol.
    """

    def __init__(
        self, embedder: Embedder, protocols: Sequence[str] = (), rerankings: Sequence[Reranking] = ()
    ) -> None:
        self.embedder, self.protocols, self.rerankings = embedder, list(protocols), list(rerankings)

    def check(self, targets: Mapping[str, Mapping[str, TestLoader]]) -> set[str]:
        """Make sure, before training, that every target can be evaluated after it.

        Args:
            targets: Loaders of each target's query and gallery.

        Returns:
            The families of protocols of the visible-infrared targets.

        Raises:
            InputError: For a protocol that no target has, or whose gallery cannot be drawn.
        """
        families: set[str] = set()
        for loaders in targets.values():
            datasets = [loader.dataset for loader in loaders.values()]
            if isinstance(datasets[0], VIDataset):
                families.add(datasets[0].protocols)
                test_set = describe(datasets)
                official = any(p.draw == "official" for p in PROTOCOLS[datasets[0].protocols].values())
                if official and test_set.permutations is None:
                    log.info("rand_perm_cam.mat is not there: only seeded galleries can be drawn")
                for name, protocol in self._choose(datasets[0], test_set).items():
                    drawn = list(trials(protocol, test_set))
                    require_matches(name, protocol, test_set, drawn)
                    log.info(f"Evaluation: {name}, {len(drawn)} trials")
        known = {name for family in families for name in PROTOCOLS[family]}
        for name in self.protocols:
            if name not in known:
                raise unknown_name("protocol in test.protocols", name, known)
        return families

    def _choose(self, dataset: VIDataset, test_set: TestSet) -> dict[str, Protocol]:
        """Return the protocols of a target: those asked for that its family has, else its default ones."""
        names = [name for name in self.protocols if name in PROTOCOLS[dataset.protocols]]
        return choose(dataset.protocols, names, test_set)

    def evaluate(
        self, name: str, query: TestLoader, gallery: TestLoader, metric: str, normalise: bool
    ) -> list[Result]:
        """Evaluate a target; of several processes the first alone has the results.

        Args:
            name: Name of the target.
            query: Loads its queries.
            gallery: Loads its gallery.
            metric: ``euclidean`` or ``cosine``.
            normalise: L2-normalise features before the distance.
        """
        features, test_set = self.features([query, gallery])
        spectra = None
        if any(how.spectra for how in self.rerankings):
            spectra = np.stack([self.features([query, gallery], channel)[0] for channel in range(3)])
        if distributed.rank():
            return []
        dataset = query.dataset
        about = {"name": name, "synthetic": dataset.synthetic, "split": dataset.split_id}
        protocols = self._choose(dataset, test_set)
        flip = self.embedder.flip
        return evaluate(
            features, test_set, protocols, about, metric, normalise, flip, self.rerankings, spectra
        )

    def validate(self, query: TestLoader, gallery: TestLoader) -> Result | None:
        """Evaluate what is held out, infrared against visible by the cosine; in the first process alone."""
        features, test_set = self.features([query, gallery])
        if distributed.rank():
            return None
        protocol = {"infrared-to-visible": PROTOCOLS["cross_modality"]["infrared-to-visible"]}
        return evaluate(features, test_set, protocol, {"name": "validation", "split": "held out"})[0]

    @torch.inference_mode()
    def features(
        self, loaders: Sequence[TestLoader], channel: int | None = None
    ) -> tuple[np.ndarray, TestSet]:
        """Return the features (N, D) of every image of the loaders, and what the images are.

        With a ``channel``, the features of the visible images alone, with that channel in all places. Several
        processes deal the images among themselves, and all of them have all features in the end.

        Raises:
            InputError: When features hold NaN or infinity.
        """
        distributed.agree(self.embedder.method.network)
        parts = []
        for loader in loaders:
            dataset = loader.dataset
            chosen = [
                number
                for number, item in enumerate(dataset.data)
                if channel is None or dataset.modality(item) is Modality.VISIBLE
            ]
            if chosen:
                parts.append(self._features(loader, chosen, channel))
        features = torch.cat(parts).numpy()
        if not np.isfinite(features).all():
            raise InputError("the model's features hold NaN or infinity: training diverged; lower train.lr")
        return features, describe([loader.dataset for loader in loaders])

    def _features(self, loader: TestLoader, chosen: Sequence[int], channel: int | None) -> Tensor:
        """Return those of the chosen images of a loader's dataset, on the CPU."""
        processes = distributed.size()
        dealt = np.resize(chosen, (math.ceil(len(chosen) / processes), processes))  # the last may come twice
        batches = loader.only(dealt[:, distributed.rank()].tolist())
        parts = []
        for batch in console.progress(batches, "extracting features", "batch", leave=False):
            images = batch["img"]
            if channel is not None:
                images = loader.normalise.one_channel(images, channel)
            parts.append(self.embedder(images, batch["modality"]).to("cpu", non_blocking=True))
        if loader.source.device.type == "cuda":
            torch.cuda.synchronize()
        return distributed.collect(torch.cat(parts), len(chosen))


def check_default_protocols(dataset: VIDataset) -> None:
    """Make sure that a dataset's test images can be evaluated by its default protocols.

    Raises:
        InputError: For images that cannot be numbered, or a protocol under which no query has a match.
    """
    if not dataset.labelled:
        return
    view = dataset.with_items([*dataset.query, *dataset.gallery])
    view.mode = "query"
    test_set = describe([view])
    for name, protocol in choose(view.protocols, [], test_set).items():
        require_matches(name, protocol, test_set, trials(protocol, test_set))


def describe(datasets: Sequence[VIDataset]) -> TestSet:
    """Describe the images of some views of one dataset, in their order.

    Training images, held out for validation, may come from several datasets and are numbered in order.
    """
    items = [item for dataset in datasets for item in dataset.data]
    held_out = datasets[0].mode == "train"
    number = [VIDataset.image_numbers if held_out else type(dataset).image_numbers for dataset in datasets]
    return TestSet(
        pids=np.array([item[1] for item in items]),
        cameras=np.array([item[2] for item in items]),
        numbers=np.concatenate(
            [of(dataset, dataset.data) for of, dataset in zip(number, datasets, strict=True)]
        ),
        table=datasets[0].cameras,
        permutations=None if held_out else datasets[0].gallery_permutations(),
    )
