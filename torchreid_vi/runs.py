"""Find the folder of a run and the checkpoints that it continues from."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
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
DAMAGED = "damaged.pth"  # new name of a damaged checkpoint
Content = dict[str, Any]  # of results.json


class RunFolder:
    """The folder that a run writes into, locked against other processes from :meth:`hold` until the context exits.

    Args:
        path: The folder.
        checkpoints: Checkpoints to continue from, the newest first; none for a new run.
        free: Whether the folder must be empty when it is locked.
    """

    def __init__(self, path: Path, checkpoints: Sequence[Path] = (), free: bool = False) -> None:
        self.path, self.checkpoints, self.free = path, list(checkpoints), free
        self._lock: ExitStack | None = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.release()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_lock": None}  # the first process of a run alone has the lock

    def release(self) -> None:
        """Unlock the folder."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def hold(self) -> bool:
        """Make and lock the folder.

        Returns:
            Whether this process holds it, and it is empty where it must be.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._lock:
            lock = ExitStack()
            try:
                # A process whose command was killed finishes its step first.
                lock.enter_context(locked(self.path / ".lock", timeout=3))
            except Timeout:
                return False
            self._lock = lock
            for left in filter(files.is_partial, (self.path / CHECKPOINTS).glob("*")):  # by a killed process
                left.unlink(missing_ok=True)
        return not self.free or _is_free(self.path)

    def read(self) -> tuple[Path, dict[str, Any]]:
        """Return the newest sound checkpoint and its content.

        Raises:
            InputError: When there is none.
        """
        *newer, last = self.checkpoints
        for path in newer:
            try:
                return path, read_checkpoint(path)
            except InputError as error:
                log.info(f"{error}; going on from the one before it")
                with suppress(OSError):  # another process of this run may have done so
                    path.replace(path.with_name(DAMAGED))  # else saving would move it over the sound one
        try:
            return last, read_checkpoint(last)
        except InputError as error:
            if not last.is_file():
                raise
            if last.parent != self.path / CHECKPOINTS or last.name not in (LAST, PREVIOUS):
                raise InputError(f"{error}; set model.resume to a run's checkpoints/{LAST}") from error
            other = last.with_name(PREVIOUS if last.name == LAST else LAST)
            hint = f"set model.resume to {other}, or if that is damaged too " if other.is_file() else ""
            raise InputError(f"{error}; {hint}remove {self.path} and start anew") from error


def content(folder: Path) -> Content:
    """Return the content of ``results.json``; empty for a run that is not finished, or with damaged results."""
    try:
        found = files.read_json(folder / RESULTS, "train again")
    except InputError:
        return {}
    results = found.get("results") if isinstance(found, dict) else None
    return found if isinstance(results, list) and all(isinstance(each, dict) for each in results) else {}


def difference(cfg: CfgNode, folder: Path) -> str:
    """Return in words how the content of a folder differs from a run of these settings; empty if it does not."""
    file = folder / SETTINGS
    if not file.is_file():
        return f"{folder} holds something else than a run"
    before, now = config.comparable(config.read_config(str(file))), config.comparable(cfg)
    for key, value in now.items():
        if before.get(key) != value:
            return f"{folder} holds a run with {key} {before.get(key)}, not {value}"
    return ""


def find(cfg: CfgNode, exactly: bool = False) -> RunFolder:
    """Return the folder for a run.

    It is that of ``model.resume``, or ``data.save_dir``, where an unfinished run of the same settings is continued.
    If ``data.save_dir`` is taken by another run, a number is added to its name, and so for evaluation alone.

    Args:
        cfg: Settings of the run.
        exactly: Whether no other folder than ``data.save_dir`` will do.

    Raises:
        InputError: When no other will and it is taken, or when another process writes into it.
    """
    if not cfg.data.save_dir:
        raise InputError("data.save_dir is empty: name a folder for the run")
    wanted = in_text(Path(os.path.abspath(expanded(cfg.data.save_dir))))  # as TensorBoard needs it
    if wanted.is_file() or not wanted.name:
        what = "a file" if wanted.name else "no folder for a run"
        raise InputError(f"{wanted} is {what}: choose another data.save_dir")
    resume = None if cfg.test.evaluate or not cfg.model.resume else expanded(cfg.model.resume).absolute()
    if resume and resume.is_dir():
        raise InputError(f"{resume} is a folder: set model.resume to a run's {CHECKPOINTS}/{LAST}")
    if resume and resume.parent.name == CHECKPOINTS:
        folder = RunFolder(resume.parents[1], [resume])
        if folder.path.is_dir() and not folder.hold():
            raise InputError(f"{folder.path} is being written by another process: wait for it, or end it")
        return folder
    name = f"{wanted.name}-test" if cfg.test.evaluate else wanted.name
    for number in count(1):
        path = wanted.with_name(f"{name}-{number}" if number > 1 else name)
        if _is_free(path):
            return RunFolder(path, [resume] if resume else [], free=True)
        if cfg.test.evaluate or resume:
            continue
        folder = RunFolder(path)
        taken = f"{path} is a file" if path.is_file() else difference(cfg, path) or _continue(folder)
        if not taken:
            return folder
        if exactly:
            raise InputError(f"{taken}: choose another data.save_dir")
        log.info(f"{taken}: this run gets another folder")
    raise AssertionError


def _continue(folder: RunFolder) -> str:
    """Lock the folder of an unfinished run and find its checkpoints; return in words why it cannot be continued."""
    finished = f"{folder.path} holds this run, finished"
    if content(folder.path):
        return finished
    if not folder.hold():
        return f"{folder.path} is being written by another process"
    if content(folder.path):  # while this process waited for the lock
        folder.release()
        return finished
    known = [folder.path / CHECKPOINTS / name for name in (LAST, PREVIOUS)]
    folder.checkpoints = [file for file in known if file.is_file()]
    return ""


def _is_free(path: Path) -> bool:
    """Return whether a folder is missing, or empty but for a lock and what a killed process began to write."""
    if not path.exists():
        return True
    return path.is_dir() and all(file.name == ".lock" or files.is_partial(file) for file in path.iterdir())
