"""Folders of runs: what one holds, which one a run gets, and from where it goes on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import Timeout
from yacs.config import CfgNode

from torchreid_vi import config, files
from torchreid_vi.engine import CHECKPOINTS, LAST, PREVIOUS
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded, in_text
from torchreid_vi.locking import locked
from torchreid_vi.models import read_checkpoint

log = logging.getLogger(__name__)

SETTINGS, RESULTS = "config.yaml", "results.json"
DAMAGED = "damaged.pth"  # what a checkpoint is called then
Content = dict[str, Any]  # of a run's results.json


class RunFolder:
    """The folder that a run writes into, held against other processes from :meth:`hold` to the context's end.

    Args:
        path: of the folder.
        checkpoints: to go on from, the newest first; none when the run begins.
        free: whether nothing may be in the folder when it is held.
    """

    def __init__(self, path: Path, checkpoints: Sequence[Path] = (), free: bool = False) -> None:
        self.path, self.checkpoints, self.free = path, list(checkpoints), free
        self._lock: ExitStack | None = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """Lets other processes have the folder."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_lock": None}  # one process of a run holds it

    def hold(self) -> bool:
        """Makes the folder if it is not there; returns whether no other process holds it or, if it has to be
        free, has written into it."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._lock:
            lock = ExitStack()
            try:
                # A run whose command was killed has to finish its step first.
                lock.enter_context(locked(self.path / ".lock", timeout=3))
            except Timeout:
                return False
            self._lock = lock
            for left in filter(files.is_partial, (self.path / CHECKPOINTS).glob("*")):  # by who had the lock
                left.unlink(missing_ok=True)
        return not self.free or _is_free(self.path)

    def read(self) -> tuple[Path, dict[str, Any]]:
        """The newest checkpoint that is whole, and its content.

        Raises:
            InputError: when none is.
        """
        for path in self.checkpoints[:-1]:
            try:
                return path, read_checkpoint(path)
            except InputError as error:
                log.info(f"{error}; going on from the one before it")
                with suppress(OSError):  # another process of this run may have done so
                    path.replace(path.with_name(DAMAGED))  # and not, when it is replaced, over the sound one
        path = self.checkpoints[-1]
        try:
            return path, read_checkpoint(path)
        except InputError as error:
            if not path.is_file():
                raise
            if path.parent != self.path / CHECKPOINTS or path.name not in (LAST, PREVIOUS):
                raise InputError(f"{error}; set model.resume to a run's checkpoints/{LAST}") from error
            other = path.with_name(PREVIOUS if path.name == LAST else LAST)
            hint = f"set model.resume to {other}, or if that is damaged too " if other.is_file() else ""
            raise InputError(f"{error}; {hint}remove {self.path} and start anew") from error


def content(folder: Path) -> Content:
    """That of ``results.json``; nothing of a run that is not finished, or whose results are damaged."""
    try:
        found = files.read_json(folder / RESULTS, "train again")
    except InputError:
        return {}
    results = found.get("results") if isinstance(found, dict) else None
    whole = isinstance(results, list) and all(isinstance(result, dict) for result in results)
    return found if whole else {}


def difference(cfg: CfgNode, folder: Path) -> str:
    """What a folder holds other than a run of these settings, in words; nothing if it holds one."""
    file = folder / SETTINGS
    if not file.is_file():
        return f"{folder} holds something else than a run"
    before, now = config.comparable(config.read_config(str(file))), config.comparable(cfg)
    for key, value in now.items():
        if before.get(key) != value:
            return f"{folder} holds a run with {key} {before.get(key)}, not {value}"
    return ""


def find(cfg: CfgNode, exactly: bool = False) -> RunFolder:
    """The folder for a run.

    That is the one of ``model.resume``, or ``data.save_dir``, where a run of the same settings that is not finished
    goes on. Where another one is, the folder gets a number; so does that of an evaluation alone.

    Args:
        cfg: the run's settings.
        exactly: whether no other folder than ``data.save_dir`` will do.

    Raises:
        InputError: when no other will, and it is taken or held.
    """
    if not cfg.data.save_dir:
        raise InputError("data.save_dir is empty: name a folder for the run")
    wanted = in_text(Path(os.path.abspath(expanded(cfg.data.save_dir))))  # as TensorBoard needs it
    if not wanted.name:
        raise InputError(f"data.save_dir is {wanted}: name a folder of its own for the run")
    if wanted.is_file():
        raise InputError(f"{wanted} is a file: choose another data.save_dir")
    if cfg.test.evaluate:
        wanted = wanted.with_name(f"{wanted.name}-test")
    elif cfg.model.resume:
        checkpoint = expanded(cfg.model.resume).absolute()
        if checkpoint.is_dir():
            raise InputError(f"{checkpoint} is a folder: set model.resume to a run's {CHECKPOINTS}/{LAST}")
        if checkpoint.parent.name == CHECKPOINTS:
            return _held(RunFolder(checkpoint.parents[1], [checkpoint]))
        return RunFolder(next(path for path in _numbered(wanted) if _is_free(path)), [checkpoint], free=True)
    for path in _numbered(wanted):
        if _is_free(path):
            return RunFolder(path, free=True)
        if cfg.test.evaluate:
            continue
        taken = "" if path.is_dir() else f"{path} is a file"
        taken = taken or difference(cfg, path) or _finished(path)
        if not taken:
            folder = RunFolder(path)
            if not folder.hold():
                taken = f"{path} is being written by another process"
            elif not (taken := _finished(path)):  # which it may have become while it was waited for
                known = [path / CHECKPOINTS / name for name in (LAST, PREVIOUS)]
                folder.checkpoints = [file for file in known if file.is_file()]
                return folder
            else:
                folder.release()
        if exactly:
            raise InputError(f"{taken}: choose another data.save_dir")
        log.info(f"{taken}: this run gets another folder")
    raise AssertionError


def _finished(path: Path) -> str:
    """That a folder's run is finished, in words; nothing if it is not."""
    return f"{path} holds this run, finished" if content(path) else ""


def _held(folder: RunFolder) -> RunFolder:
    if not folder.path.is_dir() or folder.hold():
        return folder
    raise InputError(f"{folder.path} is being written by another process: wait for it, or end it")


def _numbered(wanted: Path) -> Iterator[Path]:
    yield wanted
    yield from (wanted.with_name(f"{wanted.name}-{number}") for number in count(2))


def _is_free(path: Path) -> bool:
    """Whether nothing is there but the lock and what a run that was killed had begun to write."""
    return not path.exists() or (path.is_dir() and all(map(_says_nothing, path.iterdir())))


def _says_nothing(file: Path) -> bool:
    return file.name == ".lock" or files.is_partial(file)
