"""How every engine evaluates: features of a target once, then its protocols."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchreid_vi import console, distributed, files
from torchreid_vi.data.datasets import VIDataset
from torchreid_vi.data.loader import TestLoader
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.evaluation import (
    PROTOCOLS,
    RANKS,
    Protocol,
    Reranking,
    Result,
    TestSet,
    choose,
    evaluate,
    format_table,
    require_matches,
    trials,
)
from torchreid_vi.modality import Modality
from torchreid_vi.models import flip_averaged

RANKINGS = "rankings.npz"


class EvaluationMixin:
    """The evaluation of :class:`~torchreid_vi.engine.base.EngineMixin`, in place of torchreid's.

    Targets that are torchreid's own datasets keep torchreid's evaluation.
    """

    results: list[Result]  # of the last test
    protocols: list[str]
    flip: bool
    rerankings: list[Reranking]

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
                    console.say("rand_perm_cam.mat is not there: only seeded galleries can be drawn")
                for name, protocol in self._choose(datasets[0], test_set).items():
                    drawn = list(trials(protocol, test_set))
                    require_matches(name, protocol, test_set, drawn)
                    console.say(f"Evaluation: {name}, {len(drawn)} trials")
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
            console.result(format_table(self.results))
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
            if distributed.rank():
                return 0.0, 0.0
            largest = min(50, len(gallery_loader.dataset))  # torchreid computes no more
            kwargs["ranks"] = [k for k in kwargs.get("ranks", RANKS) if k <= largest]
            rank1, mean_ap = super()._evaluate(  # type: ignore[misc]
                dataset_name, query_loader, gallery_loader, dist_metric, normalize_feature, **kwargs
            )
            console.result(f"{dataset_name}, by torchreid's protocol: R1 {rank1:.1%}, mAP {mean_ap:.1%}")
            return rank1, mean_ap
        features, test_set = self.extract([query_loader, gallery_loader])
        spectra = None
        if any(how.spectra for how in self.rerankings):
            spectra = np.stack(
                [self.extract([query_loader, gallery_loader], channel)[0] for channel in range(3)]
            )
        if distributed.rank():
            return 0.0, 0.0
        protocols = self._choose(dataset, test_set)
        about = {"name": dataset_name, "synthetic": dataset.synthetic, "split": dataset.split_id}
        results = evaluate(
            features,
            test_set,
            protocols,
            about,
            dist_metric,
            normalize_feature,
            self.flip,
            self.rerankings,
            spectra,
        )
        self.results += results
        return results[0].mean("R1") / 100, results[0].mean("mAP") / 100

    @torch.inference_mode()
    def extract(
        self: Any, loaders: Sequence[TestLoader], channel: int | None = None
    ) -> tuple[np.ndarray, TestSet]:
        """Features (N, D) of every image of the loaders, and what the images are.

        With a ``channel``, the features of the visible images alone, with that channel in all places. Several
        processes deal the images among themselves, and all of them have all features in the end.
        """
        distributed.agree(self.model)
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

    def _features(self: Any, loader: TestLoader, chosen: Sequence[int], channel: int | None) -> Tensor:
        """Return those of the chosen images of a loader's dataset, on the CPU."""
        processes = distributed.size()
        dealt = np.resize(chosen, (math.ceil(len(chosen) / processes), processes))  # the last may come twice
        batches = loader.only(dealt[:, distributed.rank()].tolist())
        parts = []  # on the device until all are there: it is not waited for
        for batch in console.progress(batches, "extracting features", "batch", leave=False):
            images = batch["img"]
            if channel is not None:
                images = loader.normalise.one_channel(images, channel)
            embed = partial(self.embed, modality=batch["modality"])
            with self.autocast():
                features = flip_averaged(embed, images) if self.flip else embed(images)
            parts.append(features.float())
        return distributed.collect(torch.cat(parts).cpu(), len(chosen))

    def autocast(self: Any) -> AbstractContextManager[Any]:
        """Return the context in which the model computes."""
        return nullcontext()

    def embed(self: Any, images: Tensor, modality: Tensor) -> Tensor:
        """Features of a batch; torchreid's models know no modality."""
        return self.model(images)

    def write_results(self: Any, path: Path, source: dict[str, Any]) -> None:
        """Writes the results of the last test as JSON, whole or not at all, and before them ``rankings.npz``:
        for result r and trial t the arrays ``r/t/query``, ``first`` and ``ap`` of what every query found.

        Args:
            path: of the JSON file.
            source: what else to say of where the figures came from: the seed, versions, the weights.
        """
        rankings = {
            f"{number}/{trial}/{name}": getattr(ranking, name).astype(kind)
            for number, result in enumerate(self.results)
            for trial, ranking in enumerate(getattr(result, "rankings", ()))
            for name, kind in (("query", np.int32), ("first", np.int32), ("ap", np.float32))
        }
        if rankings:
            with files.whole(path.with_name(RANKINGS)) as file:
                np.savez_compressed(file, **rankings)
        content = source | {
            "epoch": self.epoch + 1,  # of this run; 0 when it evaluated only
            "training": self.cost | {"parameters": sum(p.numel() for p in self.model.parameters())},
            "results": [result.as_dict() for result in self.results],
        }
        files.write_text(path, json.dumps(content, indent=1) + "\n")


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
    """What the images of some views of one dataset are, in their order.

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
