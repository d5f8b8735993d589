"""One run from settings to results, and the folder that it leaves."""

from __future__ import annotations

import json
import os
import platform
import sys
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from yacs.config import CfgNode

from torchreid_vi import build, config, console, distributed
from torchreid_vi.engine import CHECKPOINTS, PretextResult, PretrainingEngine, StepEngine, seed_everything
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation import Result
from torchreid_vi.models import load_weights, read_checkpoint
from torchreid_vi.sharing import locate

_PACKAGES = ("torchreid_vi", "torch", "torchvision", "torchreid", "numpy", "pillow", "scipy")


def run(cfg: CfgNode) -> list[Result] | list[PretextResult]:
    """Trains and evaluates, or only evaluates, as the settings say; returns the final results.

    Within :func:`torchreid_vi.distributed.connected` all processes call it, and the first has the results.

    The run folder is made once everything has been built, so a mistake in the settings or the data
    leaves nothing behind. It holds ``config.yaml``, ``environment.json``, ``train.log``, TensorBoard
    events, ``checkpoints/last.pth``, ``results.json`` and, from pre-training, ``backbone.pth``.

    Args:
        cfg: from :func:`torchreid_vi.load_config`.

    Raises:
        InputError: for anything in the settings, the data or a checkpoint that cannot be used.
    """
    cfg = cfg.clone()
    use_gpu = torch.cuda.is_available()
    with console.logged() as log:
        console.say(distributed.from_first(lambda: _plan(cfg)))
        seed_everything(cfg.train.seed, 0)
        with distributed.first_here_first():  # caches and weights are made once
            datamanager = build.build_datamanager(cfg, use_gpu)
            model = build.build_model(cfg, datamanager.num_train_pids)
        source = {}
        if cfg.model.load_weights:
            start = locate(cfg.model.load_weights)
            loaded = load_weights(model, start.weights, cfg.model.load_stem)
            source = {"weights": cfg.model.load_weights, "weights_epoch": loaded.epoch}
            console.say(
                f"Loaded {loaded.matched} of the model's {loaded.total} tensors from "
                f"{cfg.model.load_weights}"
                + ("" if loaded.epoch is None else f", saved after epoch {loaded.epoch}")
            )
            for what, names in (("Not in the file", loaded.fresh), ("Not for this model", loaded.unused)):
                if names:
                    console.say(f"{what}: {', '.join(names)}")
        if use_gpu:
            model = model.cuda()
        engine = build.build_engine(cfg, datamanager, model, use_gpu)
        ours = engine.check_targets() or isinstance(engine, PretrainingEngine)
        if isinstance(engine, PretrainingEngine) and (cfg.test.rerank or cfg.test.mser):
            raise InputError(
                "test.rerank and test.mser re-rank what is retrieved, and pre-training retrieves nothing: "
                "leave them False"
            )
        if ours and cfg.test.visrank:
            raise InputError("test.visrank is for torchreid's own datasets: leave it False")
        if cfg.model.resume:
            cfg.train.start_epoch = engine.resume(read_checkpoint(cfg.model.resume))
            console.say(f"Resumed after epoch {cfg.train.start_epoch} from {cfg.model.resume}")
        folder = distributed.from_first(lambda: _open_folder(cfg))
        private = TemporaryDirectory() if distributed.rank() else nullcontext(folder)
        with private as own, distributed.continues_from(folder / CHECKPOINTS / "last.pth"):
            log.to(Path(own) / ("test.log" if cfg.test.evaluate else "train.log"))
            console.say(f"Run folder: {folder}")
            console.say(_describe(cfg, model, engine))
            engine.run(**(config.run_kwargs(cfg) | {"save_dir": str(own)}))
        if distributed.rank():
            return []
        if engine.results:
            engine.write_results(folder / "results.json", source)
        console.say(f"Written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return engine.results


def _plan(cfg: CfgNode) -> str:
    """What will run, and where it goes."""
    sources, targets = (
        ", ".join(names) for names in (cfg.data.sources, cfg.data.targets or cfg.data.sources)
    )
    what = f"Testing on {targets}"
    if not cfg.test.evaluate:
        done = f", of which {cfg.model.resume} has some" if cfg.model.resume else ""
        what = f"Training on {sources} for {cfg.train.max_epoch} epochs{done}"
        engine = build.ENGINES.get(cfg.loss.name)
        if engine is None or not issubclass(engine, PretrainingEngine):  # which retrieves nothing
            what += f", then testing on {targets}"
    return f"{what}; all goes to {_choose_folder(cfg)[0]}"


def _choose_folder(cfg: CfgNode) -> tuple[Path, bool]:
    """The run folder, and whether a run is resumed there: otherwise it is ``data.save_dir``, numbered if taken."""
    checkpoint = Path(cfg.model.resume).expanduser().absolute()
    resumed = bool(cfg.model.resume) and checkpoint.parent.name == CHECKPOINTS
    wanted = checkpoint.parents[1] if resumed else Path(cfg.data.save_dir).expanduser().absolute()
    if cfg.test.evaluate:
        wanted = wanted.with_name(f"{wanted.name}-test")
    folder, number = wanted, 1
    while not resumed and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder, resumed


def _open_folder(cfg: CfgNode) -> Path:
    """Makes the run folder and writes the settings into it."""
    folder, resumed = _choose_folder(cfg)
    settings = cfg.clone()
    settings.model.resume, settings.train.start_epoch = "", 0  # the file starts the whole run again
    if resumed and (folder / "config.yaml").is_file():
        settings.model.load_weights = config.load_config(str(folder / "config.yaml")).model.load_weights
    environment = _environment()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(settings.dump())
        (folder / "environment.json").write_text(json.dumps(environment, indent=1) + "\n")
    except OSError as error:
        raise InputError(
            f"run folder {folder} cannot be written ({error.strerror}): set data.save_dir"
        ) from error
    return folder


def _environment() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "processes": distributed.size(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout on the path
        return "unknown"


def _describe(cfg: CfgNode, model: torch.nn.Module, engine: Any) -> str:
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    terms = ", ".join(f"{w:g} × {n}" for n, w in zip(cfg.loss.terms, cfg.loss.weights, strict=True))
    what = f"losses {terms}" if isinstance(engine, StepEngine) else f"torchreid's {cfg.loss.name} engine"
    return (
        f"{cfg.model.name}, {parameters:.2f} M parameters, {what}, seed {cfg.train.seed}, "
        f"{'GPU' if engine.use_gpu else 'CPU'}"
        + (f" in {distributed.size()} processes" if distributed.size() > 1 else "")
    )
