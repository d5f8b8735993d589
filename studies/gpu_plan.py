"""The runs of gpu_evidence.py, sized for ten minutes of one data-centre GPU."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "mmgl"))

from plan import MOBILENET, Run, fine_tuning, mmgl, mmgl_plus, simclr

#: Configs of part 1, the most valuable first and, of the rest, the longest first.
METHODS = (
    "base",
    "mcja",
    "deen",
    "caj",
    "agw",
    "ddag",
    "mcja_journal",
    "torchreid_softmax",
    "torchreid_triplet",
)


@dataclass(frozen=True)
class Scale:
    """The size of the data and of the runs.

    Attributes:
        people: Number of synthetic identities, of which a third test.
        images: Pictures of each identity under each of six cameras.
        backbone: Backbone of part 1.
        epochs: Epochs of part 1.
        pretraining: Epochs of MMGL's pre-training. The others have two views of half as many images a batch,
            and half as many epochs.
        tuning: Epochs of a fine-tuning.
        settings: What else the runs have in common.
    """

    people: int
    images: int
    backbone: str
    epochs: int
    pretraining: int
    tuning: int
    settings: dict[str, Any]


FULL = Scale(
    people=300,
    images=5,
    backbone="resnet50",
    epochs=12,
    pretraining=28,
    tuning=8,
    settings={
        "data.height": 192,
        "data.width": 96,
        "data.workers": 4,
        "train.precision": "auto",
        "train.memory_format": "auto",
    },
)
TINY = Scale(
    people=12,
    images=2,
    backbone="resnet18",
    epochs=1,
    pretraining=1,
    tuning=1,
    settings={
        "data.height": 64,
        "data.width": 32,
        "train.precision": "fp32",
        "train.batch_size": 16,
        "loss.mmgl.stripes": 4,
    },
)


def plan(scale: Scale) -> list[Run]:
    """Plan the runs, the most valuable first."""

    def sized(run: Run, epochs: int) -> Run:
        changes = scale.settings | {"train.max_epoch": max(1, epochs), "test.mser": False}
        return replace(run, settings=run.settings | changes)

    def tuned(method: str, start: Run | str) -> Run:
        """Return a fine-tuning that augments and samples as its config says."""
        run = fine_tuning(method, start)
        own = {
            key: run.settings[key]
            for key in run.settings.keys() - {"data.transforms", "sampler.num_instances"}
        }
        return sized(replace(run, settings=own), scale.tuning)

    shared = {"model.name": scale.backbone, "train.seed": 1, "data.root": "full"}
    methods = [Run(f"1/{scale.backbone}/{name}", f"{name}_synthetic", shared, tuned=True) for name in METHODS]
    plus, pairs, views = (start(1, MOBILENET) for start in (mmgl_plus, mmgl, simclr))
    views.settings["data.transforms"] = ["random_flip", "simclr_batched"]
    starts = (plus, f"1/{MOBILENET}/imagenet", pairs, views, f"1/{MOBILENET}/random")
    return [
        *(sized(run, scale.epochs) for run in methods[:2]),
        sized(plus, scale.pretraining // 2),
        sized(pairs, scale.pretraining),
        sized(views, scale.pretraining // 2),
        *(tuned(name, start) for start in starts for name in ("base", "mcja")),
        *(sized(run, scale.epochs) for run in methods[2:]),
    ]


def part_of(run: Run) -> str:
    """Return the part that a run belongs to."""
    if not run.tuned:
        return "pre-training"
    return "methods" if run.name.count("/") == 2 else "fine-tuning"
