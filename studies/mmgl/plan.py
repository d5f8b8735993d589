"""The runs of the study of MMGL: pre-trainings, their rivals, and what is fine-tuned from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

PARTS = (
    "accuracy",
    "rivals",
    "mcja",
    "imagenet",
    "osnet",
    "data",
    "transfer",
    "ablation",
    "readings",
    "augmented",
)
RESNET, OSNET, MOBILENET = "resnet18", "osnet_x0_25", "mobilenetv2"

#: Everything a run of this study has in common: small images, half precision, no threads that read images.
COMMON = {
    "data.height": 96,
    "data.width": 32,
    "data.workers": 0,
    "model.pretrained": False,
    "train.precision": "bf16",
    "train.memory_format": "contiguous",
}
#: Optimiser steps of a pre-training and of a fine-tuning, of 64 images each.
STEPS = {"pretraining": {RESNET: 510, MOBILENET: 510, OSNET: 680}, "fine-tuning": 360}
#: Pre-trainings by a part of MMGL, or by another reading of its contrast.
ABLATION: dict[str, dict[str, Any]] = {
    "permutation": {"loss.weights": [1.0, 0.0]},
    "cycle": {"loss.weights": [0.0, 1.0]},
}
READINGS: dict[str, dict[str, Any]] = {
    reading: {"loss.part_cycle.reading": reading}
    for reading in ("part", "batch", "batch_other_parts", "walk")
}
#: MMGL's images with the augmentation of the method that is fine-tuned.
AUGMENTED = {"data.transforms": ["maa", "random_flip", "random_crop", "random_erase"]}
#: Fine-tuning by the methods as published, without random tones.
PLAIN = ["random_flip", "random_crop"]
TRANSFORMS = {"base": PLAIN, "mcja": ["maa", *PLAIN, "random_erase_zero"]}
#: ImageNet's weights of MobileNetV2, under the study's data.
IMAGENET = "imagenet/backbone.pth"
#: Learning rates of every pre-training and fine-tuning.
RATES = {RESNET: 0.001, MOBILENET: 0.001, OSNET: 0.005}


@dataclass(frozen=True)
class Run:
    """One run of the study.

    Attributes:
        name: Its folder under the study's.
        config: File in configs/.
        settings: The settings that differ from it.
        start: Name of the run whose backbone it starts from, "" for random values.
        tuned: True for a fine-tuning, from which nothing starts.
    """

    name: str
    config: str
    settings: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    tuned: bool = False


def epochs(steps: int, images: int) -> int:
    """Return the number of epochs over so many images of the larger modality that make about so many steps."""
    return max(1, round(steps / (images // 32)))


def mmgl(seed: int, backbone: str, variant: str = "mmgl", **settings: Any) -> Run:
    """A pre-training by MMGL or by a part of it."""
    share = settings.pop("share", 100)
    steps = STEPS["pretraining"][backbone]
    chosen = {
        "model.name": backbone,
        "train.seed": seed,
        "train.max_epoch": epochs(steps, 2736 * share // 100),
        "train.lr": RATES[backbone],
        "data.root": "full" if share == 100 else f"share{share}",
    }
    return Run(f"{seed}/{backbone}/{variant}", "mmgl_synthetic", chosen | settings)


def mmgl_plus(seed: int, backbone: str) -> Run:
    """MMGL plus: two views of half as many images."""
    settings = {
        "model.name": backbone,
        "train.seed": seed,
        "train.max_epoch": epochs(STEPS["pretraining"][backbone], 2736 * 2),
        "train.lr": RATES[backbone],
        "data.root": "full",
    }
    return Run(f"{seed}/{backbone}/mmgl_plus", "mmgl_plus_synthetic", settings)


def supervised_on_visible(seed: int, backbone: str) -> Run:
    """A classifier of other people in visible images, which stands for ImageNet's weights."""
    steps = STEPS["pretraining"][backbone]
    settings = {
        "model.name": backbone,
        "model.streams": 1,
        "train.seed": seed,
        "train.max_epoch": epochs(steps, 1440),
        "train.lr": RATES[backbone],
        "data.root": "other",
        "data.transforms": PLAIN,
        "data.modalities": ["visible"],
        "sampler.train_sampler": "RandomIdentitySampler",
        "sampler.num_instances": 4,
        "loss.terms": ["identity"],
        "loss.weights": [1.0],
        "test.protocols": ["within-visible/1-shot/seeded"],
    }
    return Run(f"{seed}/{backbone}/visible", "base_synthetic", settings)


def simclr(seed: int, backbone: str) -> Run:
    """SimCLR on the images that MMGL sees, with as many images through the network."""
    steps = STEPS["pretraining"][backbone]
    settings = {
        "loss.name": "simclr",
        "loss.terms": ["ntxent"],
        "loss.weights": [1.0],
        "model.name": backbone,
        "train.seed": seed,
        "train.max_epoch": epochs(steps, 2736 * 2),
        "train.lr": RATES[backbone],
        "train.batch_size": 32,
        "data.k_tfm": 2,
        "data.transforms": ["simclr"],
        "data.root": "full",
    }
    return Run(f"{seed}/{backbone}/simclr", "mmgl_synthetic", settings)


def fine_tuning(method: str, start: Run | str, dataset: str = "vi_synthetic") -> Run:
    """A supervised training from another run's backbone, or by name from random values or ImageNet."""
    name = start if isinstance(start, str) else start.name
    seed, backbone, _ = name.split("/")
    here = dataset == "vi_synthetic"
    settings: dict[str, Any] = {
        "model.name": backbone,
        "train.seed": int(seed),
        "train.lr": RATES[backbone],
        "train.max_epoch": epochs(STEPS["fine-tuning"], 2880 if here else 600),
        "data.root": "full" if here else "regdb",
        "data.sources": [dataset],
        "data.transforms": TRANSFORMS[method],
        "sampler.num_instances": 4,
        "test.protocols": ["all/1-shot/official"] if here else [],
    }
    if name.endswith("/imagenet"):
        settings["model.load_weights"] = IMAGENET
    into = method if here else f"{method}_{dataset}"
    return Run(
        f"{name}/{into}", f"{method}_synthetic", settings, "" if isinstance(start, str) else name, tuned=True
    )


def starts(seed: int, backbone: str) -> list[Run | str]:
    """List the starts of fine-tuning: random values, MMGL, MMGL plus, and their rivals."""
    return [
        f"{seed}/{backbone}/random",
        *(start(seed, backbone) for start in (mmgl, mmgl_plus, supervised_on_visible, simclr)),
    ]


def plan(parts: list[str], seeds: int) -> list[list[Run]]:
    """Plan the runs, in chains: each begins with a pre-training, from which those after it start."""
    chains: dict[str, list[Run]] = {}

    def add(start: Run | str, *after: Run) -> None:
        name = start if isinstance(start, str) else start.name
        chain = chains.setdefault(name, [] if isinstance(start, str) else [start])
        chain += [run for run in after if run not in chain]

    everyone = range(1, seeds + 1)
    for seed in everyone if "accuracy" in parts else ():
        add(mmgl(seed, RESNET))
        start = mmgl(seed, RESNET, "mmgl_two_streams", **{"model.streams": 2})
        add(start, fine_tuning("base", start))
    tunings = (
        ("rivals", RESNET, "base"),
        ("mcja", RESNET, "mcja"),
        ("osnet", OSNET, "base"),
        ("osnet", OSNET, "mcja"),
    )
    for seed, method in product(everyone, ("base", "mcja")) if "imagenet" in parts else ():
        names = [f"{seed}/{MOBILENET}/{name}" for name in ("random", "imagenet")]
        for start in (*names, mmgl(seed, MOBILENET), mmgl_plus(seed, MOBILENET)):
            add(start, fine_tuning(method, start))
    for (part, backbone, method), seed in product(tunings, everyone):
        for start in starts(seed, backbone) if part in parts else ():
            add(start, fine_tuning(method, start))
    for seed in everyone if {"data", "ablation", "readings"} & set(parts) else ():
        for start in starts(seed, RESNET)[:2]:
            add(start, fine_tuning("base", start))
    variants = (ABLATION if "ablation" in parts else {}) | (READINGS if "readings" in parts else {})
    for seed, variant in product(everyone, variants):
        start = mmgl(seed, RESNET, f"mmgl_{variant}", **variants[variant])
        add(start, fine_tuning("base", start))
    for seed, share in product(everyone, (25, 50)) if "data" in parts else ():
        add(start := mmgl(seed, RESNET, f"mmgl_{share}", share=share), fine_tuning("base", start))
    for seed in everyone if "augmented" in parts else ():
        start = mmgl(seed, RESNET, "mmgl_augmented", **AUGMENTED)
        add(start, *(fine_tuning(method, start) for method in ("base", "mcja")))
    for seed in everyone if "transfer" in parts else ():
        for start in starts(seed, OSNET):
            add(start, fine_tuning("base", start, "regdb"))
    return list(chains.values())
