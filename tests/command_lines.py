"""Tools called as people call them, but in the tests' own process, which has imported everything already."""

import contextlib
import io
import os
import runpy
import sys
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from torchreid_vi import LOSSES, METHODS, host
from torchreid_vi.evaluation import PROTOCOLS

TOOLS = Path(__file__).parents[1] / "tools"
#: Settings of a run that takes seconds.
TINY = {
    "model.name": "osnet_x0_25",
    "model.pretrained": False,
    "data.sources": ["regdb"],
    "data.height": 32,
    "data.width": 16,
    "data.workers": 0,
    "sampler.train_sampler": "CrossModalitySampler",
    "sampler.num_instances": 2,
    "train.batch_size": 16,
    "train.max_epoch": 2,
}

#: Settings of a pre-training that takes seconds, beside those.
MMGL = {
    "loss.name": "mmgl",
    "loss.terms": ["permutation", "part_cycle"],
    "loss.weights": [1.0, 0.02],
    "sampler.train_sampler": "ModalityPairSampler",
    "data.validation": 0.2,
    "data.height": 48,
    "loss.mmgl.stripes": 3,
    "model.last_stride": 1,
}

#: What a user's file adds names to.
TABLES = (METHODS, LOSSES, PROTOCOLS, host.MODELS, host.IMAGE_DATASETS)


@contextlib.contextmanager
def forgotten():
    """What is imported by name and registered within it is not known afterwards, as in a process that has ended."""
    tables, paths, modules = [dict(table) for table in TABLES], list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        for table, before in zip(TABLES, tables, strict=True):
            table.clear()
            table.update(before)
        added = {path for path in sys.path if path not in paths and Path(path) != TOOLS}
        for name in set(sys.modules) - modules:
            if str(Path(getattr(sys.modules[name], "__file__", None) or "/").parent) in added:
                del sys.modules[name]
        sys.path[:] = paths


def call(tool, *arguments, cwd=".", report=False, **environment):
    """Run a tool, ``train.py`` or a path, with arguments; return its status and what it wrote on either stream.

    A training writes its report if asked alone, which saves seconds.
    """
    words = [str(TOOLS / tool), *map(str, arguments), *["--no-report"] * (tool == "train.py" and not report)]
    out, error = io.StringIO(), io.StringIO()
    before = os.getcwd()
    with (
        patch.object(sys, "argv", words),
        patch.object(sys, "path", [str(Path(words[0]).parent), *sys.path]),
        patch.dict(os.environ, {name: str(value) for name, value in environment.items()}),
        forgotten(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        os.chdir(cwd)
        try:
            runpy.run_path(words[0], run_name="__main__")
            status = 0
        except SystemExit as left:
            status = left.code or 0
        finally:
            os.chdir(before)
    return CompletedProcess(words, status, out.getvalue(), error.getvalue())
