"""The config files: each builds, and has the published recipe."""

import re
from pathlib import Path

import pytest

from torchreid_vi import build, load_config
from torchreid_vi.data.augmentation import Augmentation
from torchreid_vi.data.changes import Settings

ROOT = Path(__file__).parents[1]
DATASETS = ("sysu", "regdb", "llcm")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_builds_its_model_losses_and_schedule(path):
    cfg = load_config(str(path), options=["model.pretrained", "False"])
    model = build.build_method(cfg, 5).network
    optimizer = build.build_optimizer(cfg, model)
    scheduler = build.build_scheduler(cfg, optimizer)
    assert set(build.build_losses(cfg)) == set(cfg.loss.terms)
    assert scheduler.state_dict()
    settings = Settings(cfg.data.height, cfg.data.width, cfg.data.norm_mean, cfg.data.norm_std, cfg.data.maa)
    Augmentation(cfg.data.transforms, settings)
    assert cfg.data.save_dir == f"log/{path.stem}"
    assert path.read_text().startswith("# ")


def test_published_hyper_parameters():
    mcja = load_config("configs/mcja_sysu.yaml")
    assert (mcja.train.lr, mcja.train.batch_size, mcja.sampler.num_instances) == (3.5e-4, 128, 16)
    assert (mcja.train.max_epoch, mcja.train.stepsize, mcja.train.seed) == (140, [80, 120], 8)
    assert (mcja.data.height, mcja.data.width, mcja.model.streams, mcja.model.last_stride) == (384, 192, 1, 2)
    base = load_config("configs/base_sysu.yaml")
    assert (base.train.lr, base.train.base_lr_mult, base.train.warmup) == (0.1, 0.1, 10)
    assert (base.data.height, base.data.width, base.model.streams, base.model.last_stride) == (288, 144, 2, 1)
    agw = load_config("configs/agw_sysu.yaml")
    assert (agw.model.blocks, agw.model.non_local.width, agw.model.pooling) == ("non_local", 1, "gem")
    assert (agw.loss.terms, agw.loss.weighted_triplet.squared) == (["identity", "weighted_triplet"], False)
    caj = load_config("configs/caj_sysu.yaml")
    assert (caj.model.blocks, caj.loss.weighted_triplet.squared) == ("non_local", True)
    assert caj.data.second_view == ["random_flip", "pad_crop", "channel_erase", "channel_exchange"]
    ddag = load_config("configs/ddag_sysu.yaml")
    assert (ddag.loss.ddag.parts, ddag.loss.name, ddag.model.pooling) == (3, "ddag", "avg")
    assert ddag.train.new_layers == ["neck", "classifier", "parts", "graph"]
    for method, epochs in ((agw, 81), (caj, 100), (ddag, 81)):
        assert (method.train.lr, method.train.max_epoch, method.model.streams) == (0.1, epochs, 2)
        assert (method.sampler.replacement, method.data.interpolation) == (True, "lanczos")
        assert (method.model.neck_std, method.model.classifier_std) == (0.01, 0.001)
        assert (method.loss.weighted_triplet.stable, method.test.flip) == (False, method is caj)
    assert (mcja.model.neck_std, mcja.model.classifier_std, mcja.data.interpolation) == (0.0, 0.0, "bilinear")
    for dataset in (*DATASETS, "synthetic"):
        assert load_config(f"configs/mcja_{dataset}.yaml").model.classifier_std == 0.0
    llcm = [load_config(f"configs/{name}_llcm.yaml").data.transforms for name in ("base", "agw", "ddag")]
    assert ["llcm_erase" in transforms for transforms in llcm] == [True, True, False]
    for name in ("agw", "caj"):  # which start from random values
        assert load_config(f"configs/{name}_synthetic.yaml").loss.weighted_triplet.stable
    journal = [load_config(f"configs/mcja_journal_{name}.yaml") for name in ("sysu", "regdb")]
    assert [(c.model.blocks, c.model.mda.contexts) for c in journal] == [("mda", 2), ("mda", 12)]
    mmgl = load_config("configs/mmgl_sysu.yaml")
    assert (mmgl.train.lr, mmgl.train.weight_decay, mmgl.train.batch_size) == (0.1, 5e-4, 64)
    assert (mmgl.train.optim, mmgl.sgd.momentum, mmgl.sgd.nesterov) == ("sgd", 0.9, True)
    assert (mmgl.train.max_epoch, mmgl.train.warmup, mmgl.train.lr_scheduler) == (100, 10, "cosine")
    assert (mmgl.data.height, mmgl.data.width, mmgl.model.streams, mmgl.model.last_stride) == (288, 144, 2, 1)
    assert (mmgl.loss.mmgl.stripes, mmgl.loss.mmgl.part_dim, mmgl.loss.mmgl.rounds) == (6, 256, 20)
    assert (mmgl.loss.part_cycle.temperature, mmgl.loss.weights) == (0.07, [1.0, 0.5])


def learning_rates():
    """(config, epochs, optimiser, head's rate, the rest's, warm-up, milestones) of the table of recipes.md."""
    text = (ROOT / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    table = text.split("## Learning rates")[1].split("##")[0]
    for line in table.splitlines():
        if line.startswith("| `"):
            names, epochs, optimiser, head, rest, warmup, falls = line.strip("|").split("|")
            milestones = [int(fall) for fall in falls.split(",") if fall.strip()]
            for name in re.findall("`([a-z_]+)`", names):
                yield name, int(epochs), optimiser.strip(), float(head), float(rest), int(warmup), milestones


def test_the_table_of_learning_rates_has_every_published_recipe():
    methods = ("base", "agw", "caj", "ddag", "deen", "mcja", "mcja_journal")
    assert {row[0] for row in learning_rates()} == {f"{m}_{d}" for m in methods for d in DATASETS}


@pytest.mark.parametrize("row", learning_rates(), ids=lambda row: row[0])
def test_every_epoch_has_the_learning_rate_of_the_table(row):
    name, epochs, optimiser, head, rest, warmup, milestones = row
    cfg = load_config(f"configs/{name}.yaml", {"model.name": "resnet18", "model.pretrained": False})
    assert (cfg.train.max_epoch, cfg.train.optim) == (epochs, optimiser)
    model = build.build_method(cfg, 5).network
    optimizer = build.build_optimizer(cfg, model)
    scheduler = build.build_scheduler(cfg, optimizer)
    heads = {p for part in ("neck", "classifier", "parts", "graph") for p in parameters(model, part)}
    for epoch in range(epochs):
        factor = 0.1 ** sum(epoch >= fall for fall in milestones) * min(1, (epoch + 1) / (warmup or 1))
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                expected = (head if parameter in heads else rest) * factor
                assert group["lr"] == pytest.approx(expected), (epoch, expected)
        optimizer.step()
        scheduler.step()


def parameters(model, part):
    return getattr(model, part).parameters() if hasattr(model, part) else ()
