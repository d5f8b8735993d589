"""One run from settings to results, and the folder that it leaves."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import torch
from tqdm import tqdm
from yacs.config import CfgNode

from torchreid_vi import build, config, distributed
from torchreid_vi.engine import CHECKPOINTS, PretextResult, PretrainingEngine, StepEngine, seed_everything
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation import Result
from torchreid_vi.models import load_weights, read_checkpoint

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
    with _logged() as log:
        seed_everything(cfg.train.seed, 0)
        with distributed.first_here_first():  # caches and weights are made once
            datamanager = build.build_datamanager(cfg, use_gpu)
            model = build.build_model(cfg, datamanager.num_train_pids)
        source = {}
        if cfg.model.load_weights:
            loaded = load_weights(model, cfg.model.load_weights, cfg.model.load_stem)
            source = {"weights": cfg.model.load_weights, "weights_epoch": loaded.epoch}
            print(
                f"=> Loaded {loaded.matched} of the model's {loaded.total} tensors from "
                f"{cfg.model.load_weights}"
                + ("" if loaded.epoch is None else f", saved after epoch {loaded.epoch}")
            )
            for what, names in (("Not in the file", loaded.fresh), ("Not for this model", loaded.unused)):
                if names:
                    print(f"=> {what}: {', '.join(names)}")
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
            print(f"=> Resumed after epoch {cfg.train.start_epoch} from {cfg.model.resume}")
        folder = distributed.from_first(lambda: _open_folder(cfg))
        private = TemporaryDirectory() if distributed.rank() else nullcontext(folder)
        with private as own, distributed.continues_from(folder / CHECKPOINTS / "last.pth"):
            log.to(Path(own) / ("test.log" if cfg.test.evaluate else "train.log"))
            print(f"=> Run folder: {folder}")
            print(_describe(cfg, model, engine))
            engine.run(**(config.run_kwargs(cfg) | {"save_dir": str(own)}))
        if distributed.rank():
            return []
        if engine.results:
            engine.write_results(folder / "results.json", source)
        print(f"=> Written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return engine.results


def _open_folder(cfg: CfgNode) -> Path:
    """Makes the run folder: that of the checkpoint to resume, or ``data.save_dir``, numbered if taken."""
    checkpoint = Path(cfg.model.resume).expanduser().absolute()
    resumed = bool(cfg.model.resume) and checkpoint.parent.name == CHECKPOINTS
    wanted = checkpoint.parents[1] if resumed else Path(cfg.data.save_dir).expanduser().absolute()
    if cfg.test.evaluate:
        wanted = wanted.with_name(f"{wanted.name}-test")
    settings = cfg.clone()
    settings.model.resume, settings.train.start_epoch = "", 0  # the file starts the whole run again
    if resumed and (wanted / "config.yaml").is_file():
        settings.model.load_weights = config.load_config(str(wanted / "config.yaml")).model.load_weights
    folder, number, environment = wanted, 1, _environment()
    try:
        while not resumed and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
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
        f"=> {cfg.model.name}, {parameters:.2f} M parameters, {what}, seed {cfg.train.seed}, "
        f"{'GPU' if engine.use_gpu else 'CPU'}"
        + (f" in {distributed.size()} processes" if distributed.size() > 1 else "")
    )


class _Log:
    """Standard output that is also kept for the log file, past the progress bars."""

    def __init__(self, console: TextIO) -> None:
        self.console = console
        self.file: TextIO | None = None
        self.kept: list[str] = []

    def write(self, text: str) -> int:
        with tqdm.external_write_mode(file=self.console):
            self.console.write(text)
        if self.file:
            self.file.write(text)
            self.file.flush()
        else:
            self.kept.append(text)
        return len(text)

    def flush(self) -> None:
        self.console.flush()

    def isatty(self) -> bool:
        return self.console.isatty()

    def to(self, path: Path) -> None:
        """Appends to a file from now on, what was kept first."""
        self.file = path.open("a", encoding="utf-8")
        self.file.write("".join(self.kept))
        self.kept.clear()


@contextmanager
def _logged() -> Iterator[_Log]:
    log = _Log(sys.stdout)
    sys.stdout = log  # type: ignore[assignment]
    try:
        yield log
    finally:
        sys.stdout = log.console
        if log.file:
            log.file.close()
