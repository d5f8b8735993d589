"""Every method at a tiny size, built from its config."""

from pathlib import Path

from torchreid_vi import build, load_config
from torchreid_vi.seeds import seed_everything

METHODS = ("base", "agw", "caj", "ddag", "deen", "mcja", "mcja_journal", "mmgl")
CONFIGS = Path(__file__).parents[1] / "configs"
TINY = {
    "model.name": "resnet18",
    "model.pretrained": False,
    "data.height": 48,
    "data.width": 24,
    "data.workers": 0,
    "data.cache": "",
    "loss.mmgl.stripes": 3,
    "sampler.num_instances": 2,
    "train.batch_size": 16,
}


def engine_of(method, root, use_gpu=False, **changes):
    """Build an engine with the method's config, tiny sizes and changes to them."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    held_out = {"data.validation": 0.2} if method == "mmgl" else {}
    settings = TINY | held_out | {"data.root": str(root)} | changes
    cfg = load_config(str(CONFIGS / f"{method}_synthetic.yaml"), settings)
    seed_everything(cfg.train.seed)
    datamanager = build.build_datamanager(cfg, use_gpu)
    method = build.build_method(cfg, datamanager.num_train_pids)
    return build.build_engine(cfg, datamanager, method.cuda() if use_gpu else method, use_gpu)


def batches_of(engine, number):
    """Return so many of its batches, over epochs."""
    batches = []
    while len(batches) < number:
        batches += list(engine.train_loader)
    return batches[:number]
