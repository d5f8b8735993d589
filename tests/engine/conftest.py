"""Small engines, built from settings as a run builds them."""

import pytest

from torchreid_vi import build, load_config
from torchreid_vi.seeds import seed_everything

SMALL = {
    "model.name": "osnet_x0_25",
    "model.pretrained": False,
    "data.height": 32,
    "data.width": 16,
    "data.workers": 0,
    "data.transforms": ["maa", "random_flip", "random_crop", "random_erase"],
    "sampler.train_sampler": "CrossModalitySampler",
    "sampler.num_instances": 2,
    "train.batch_size": 16,
    "train.max_epoch": 3,
    "train.lr_scheduler": "cosine",
    "loss.terms": ["identity", "cmr"],
    "loss.weights": [1.0, 1.0],
}


@pytest.fixture
def make(roots, tmp_path):
    """Builds an engine and its settings, with changes to the small ones."""

    def build_one(**changes):
        settings = {"data.root": str(roots), "data.save_dir": str(tmp_path / "run")} | SMALL
        cfg = load_config(overrides=settings | {k.replace("__", "."): v for k, v in changes.items()})
        seed_everything(cfg.train.seed, 0)
        datamanager = build.build_datamanager(cfg, use_gpu=False)
        model = build.build_model(cfg, datamanager.num_train_pids)
        return build.build_engine(cfg, datamanager, model, use_gpu=False), cfg

    return build_one
