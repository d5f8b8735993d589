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


# Measured on one H200 with 16 cores, four runs at a time: Base takes 63 s, MCJA 69 s, a pre-training 150 to 175 s
# and a fine-tuning 56 to 63 s, each with 12 s more for its start and test. In units of Base, by their speeds on a
# CPU, DEEN costs 2.3, CAJ 1.95, AGW 1.3, DDAG and MCJA's journal version 1.2, torchreid's methods 0.75 each. All 22
# runs would take about 520 s.
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
        plain = ("data.transforms", "sampler.num_instances")
        own = {key: value for key, value in run.settings.items() if key not in plain}
        return sized(replace(run, settings=own), scale.tuning)

    shared = {"model.name": scale.backbone, "train.seed": 1, "data.root": "full"}
    methods = [Run(f"1/{scale.backbone}/{name}", f"{name}_synthetic", shared, tuned=True) for name in METHODS]
    plus, pairs, views = (start(1, MOBILENET) for start in (mmgl_plus, mmgl, simclr))
    views.settings["data.transforms"] = ["random_flip", "simclr_batched"]
    starts = (plus, f"1/{MOBILENET}/imagenet", f"1/{MOBILENET}/random", pairs, views)
    return [
        *(sized(run, scale.epochs) for run in methods[:2]),
        sized(plus, scale.pretraining // 2),
        sized(pairs, scale.pretraining),
        sized(views, scale.pretraining // 2),
        *(tuned(name, start) for name in ("base", "mcja") for start in starts),
        *(sized(run, scale.epochs) for run in methods[2:]),
    ]


def part_of(run: Run) -> str:
    """Return the part that a run belongs to."""
    if not run.tuned:
        return "pre-training"
    return "methods" if run.name.count("/") == 2 else "fine-tuning"
