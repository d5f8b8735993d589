"""Run a training or an evaluation from settings to results."""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
from contextlib import ExitStack, nullcontext
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from yacs.config import CfgNode

from torchreid_vi import build, config, console, distributed, files
from torchreid_vi.engine import CHECKPOINTS, LAST, PretextResult, VIEngine
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation import Result
from torchreid_vi.methods import Method
from torchreid_vi.models import load_weights
from torchreid_vi.models.layouts import grouped
from torchreid_vi.runs import RESULTS, SETTINGS, RunFolder, find
from torchreid_vi.seeds import seed_everything
from torchreid_vi.sharing import locate

log = logging.getLogger(__name__)

_PACKAGES = ("torchreid_vi", "torch", "torchvision", "torchreid", "numpy", "pillow", "scipy")


def run(cfg: CfgNode, exactly: bool = False) -> list[Result] | list[PretextResult]:
    """Trains and evaluates, or only evaluates, as the settings say; returns the final results.

    A run of the same settings that is not finished goes on in its folder, ``data.save_dir``; if that folder holds
    anything else, this run's has a number. SIGINT and SIGTERM let the step under way finish and save it.

    Within :func:`torchreid_vi.distributed.connected` all processes call it, and the first has the results.

    The run folder is made once everything has been built, so a mistake in the settings or the data
    leaves nothing behind. It holds ``config.yaml``, ``environment.json``, ``train.log``, TensorBoard
    events, ``checkpoints/last.pth``, ``results.json`` and, from pre-training, ``backbone.pth``.

    Args:
        cfg: From :func:`torchreid_vi.load_config`.
        exactly: Whether a taken ``data.save_dir`` is refused and not numbered.

    Raises:
        InputError: For anything in the settings, the data or a checkpoint that cannot be used.
        Stopped: After a signal while training, once the step is saved.
    """
    return run_in_folder(cfg, exactly)[1]


def run_in_folder(cfg: CfgNode, exactly: bool = False) -> tuple[Path, list[Result] | list[PretextResult]]:
    """Do what :func:`run` does; return the run's folder, too."""
    config.import_named(cfg.imports)  # in a process of its own, where nobody loaded the settings
    settings, cfg = cfg.clone(), cfg.clone()
    use_gpu = torch.cuda.is_available()
    with console.logged() as file, ExitStack() as held:
        folder = distributed.from_first(lambda: held.enter_context(find(cfg, exactly)))
        if folder.checkpoints:
            cfg.model.resume, cfg.model.load_weights = str(folder.checkpoints[0]), ""
            if (before := folder.path / SETTINGS).is_file():
                cfg.data.thermal_found = config.read_config(str(before)).data.thermal_found
        start = locate(cfg.model.load_weights) if cfg.model.load_weights else None
        log.info(_plan(cfg, folder))
        seed_everything(cfg.train.seed)
        with distributed.first_here_first():  # caches and weights are made once
            datamanager = build.build_datamanager(cfg, use_gpu)
            method = build.build_method(cfg, datamanager.num_train_pids)
        if not cfg.data.thermal_range:  # whoever uses the weights scales images alike
            settings.data.thermal_found = list(datamanager.thermal_range or ())
        source: dict[str, Any] = {"seed": cfg.train.seed, "versions": _versions()}
        if start:
            loaded = load_weights(method.network, start.weights, cfg.model.load_stem)
            source |= {"weights": cfg.model.load_weights, "weights_epoch": loaded.epoch}
            log.info(
                f"Loaded {loaded.matched} of the model's {loaded.total} tensors from "
                f"{cfg.model.load_weights}"
                + ("" if loaded.epoch is None else f", saved after epoch {loaded.epoch}")
            )
            for what, names in (("Not in the file", loaded.fresh), ("Not for this model", loaded.unused)):
                if names:
                    log.info(f"{what}: {grouped(names)}")
        if use_gpu:
            method.cuda()
        engine = build.build_engine(cfg, datamanager, method, use_gpu)
        ours = method.self_supervised or engine.evaluator.check(engine.test_loader)
        if method.self_supervised and (cfg.test.rerank or cfg.test.mser):
            raise InputError(
                "test.rerank and test.mser re-rank what is retrieved, and pre-training retrieves nothing: "
                "leave them False"
            )
        if ours and cfg.test.visrank:
            raise InputError("test.visrank is for torchreid's own datasets: leave it False")
        if folder.checkpoints:
            checkpoint, state = folder.read()
            cfg.train.start_epoch = engine.resume(state)
            steps = f" and {engine.progress.step} steps" if engine.progress.step else ""
            log.info(f"Resumed after epoch {cfg.train.start_epoch}{steps} from {checkpoint}")
        distributed.from_first(lambda: _open(folder, settings))
        private = TemporaryDirectory() if distributed.rank() else nullcontext(folder.path)
        with private as own, distributed.continues_from(folder.path / CHECKPOINTS / LAST):
            file.to(Path(own) / ("test.log" if cfg.test.evaluate else "train.log"))
            log.info(f"Run folder: {folder.path}")
            for line in _describe(cfg, method, engine.use_gpu):
                log.info(line)
            engine.run(**(config.run_kwargs(cfg) | {"save_dir": str(own)}))
        if distributed.rank():
            return folder.path, []
        _write_results(folder.path, engine, source)
        log.info(f"Written: {folder.path}")
    return folder.path, engine.results


def _plan(cfg: CfgNode, folder: RunFolder) -> str:
    """Describe what will run, and where it goes."""
    sources, targets = (
        ", ".join(names) for names in (cfg.data.sources, cfg.data.targets or cfg.data.sources)
    )
    what = f"Testing on {targets}"
    if not cfg.test.evaluate:
        done = f", of which {cfg.model.resume} has some" if cfg.model.resume else ""
        what = f"Training on {sources} for {cfg.train.max_epoch} epochs{done}"
        if not build.method_class(cfg).self_supervised:
            what += f", then testing on {targets}"
    return f"{what}; all goes to {folder.path}"


def _open(folder: RunFolder, cfg: CfgNode) -> None:
    """Makes the run's folder and writes the settings into it."""
    settings = cfg.clone()
    settings.model.resume, settings.train.start_epoch = "", 0  # the file starts the whole run again
    file = folder.path / SETTINGS
    if folder.checkpoints and file.is_file():
        settings.model.load_weights = config.read_config(str(file)).model.load_weights
    environment = _environment()
    try:
        if not folder.hold():
            raise InputError(f"{folder.path} has just been taken by another process: start this run again")
        files.write_text(file, settings.dump())
        files.write_text(folder.path / "environment.json", json.dumps(environment, indent=1) + "\n")
    except OSError as error:
        raise InputError(
            f"run folder {folder.path} cannot be written ({error.strerror}): set data.save_dir"
        ) from error


def _environment() -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": date.today().isoformat(),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": _versions(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "processes": distributed.size(),
    }


def _versions() -> dict[str, str]:
    return {name: _version(name) for name in _PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout on the path
        return "unknown"


def _write_results(folder: Path, engine: VIEngine, source: dict[str, Any]) -> None:
    """Write ``results.json``, and before it ``rankings.npz``.

    The latter has for result r and gallery draw t the arrays ``r/t/query``, ``first`` and ``ap``: what each query
    found.

    Args:
        folder: The run's.
        engine: Which has just tested.
        source: Where the metrics came from: the seed, versions, the weights.
    """
    rankings = {
        f"{number}/{trial}/{name}": getattr(ranking, name).astype(kind)
        for number, result in enumerate(engine.results)
        for trial, ranking in enumerate(getattr(result, "rankings", ()))
        for name, kind in (("query", np.int32), ("first", np.int32), ("ap", np.float32))
    }
    if rankings:
        with files.atomic_write(folder / "rankings.npz") as file:
            np.savez_compressed(file, **rankings)
    progress, parameters = engine.progress, sum(p.numel() for p in engine.model.parameters())
    content = source | {
        "epoch": engine.epoch + 1,  # of this run; 0 when it evaluated only
        "training": {"seconds": progress.seconds, "images": progress.images, "parameters": parameters},
        "results": [result.as_dict() for result in engine.results],
    }
    files.write_text(folder / RESULTS, json.dumps(content, indent=1) + "\n")


def _describe(cfg: CfgNode, method: Method, use_gpu: bool) -> list[str]:
    parameters = sum(p.numel() for p in method.network.parameters()) / 1e6
    terms = ", ".join(f"{weight:g} × {name}" for name, (_, weight) in method.losses.items())
    processes = f" in {distributed.size()} processes" if distributed.size() > 1 else ""
    return [
        f"{cfg.model.name}, {parameters:.2f} M parameters, seed {cfg.train.seed}, "
        f"{'GPU' if use_gpu else 'CPU'}{processes}",
        f"Method {cfg.loss.name}" + (f": {terms}" if terms else ""),
    ]
