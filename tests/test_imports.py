"""Imports go one way, and importing the package again changes nothing."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import torchreid_vi
from torchreid_vi import host

PACKAGE = Path(torchreid_vi.__file__).parent

#: Layers from the bottom; a module imports from its own part or from layers below.
LAYERS = [
    {"errors", "host", "stopping"},
    {"console", "extras", "folders", "modality"},
    {"distributed", "files", "locking"},
    {"seeds"},
    {"data", "models", "losses", "evaluation"},
    {"methods"},
    {"config", "engine"},
    {"build"},
    {"sharing"},
    {"runs"},
    {"runner", "retrieval"},
    {"series", "report"},
    {"demo"},
    {"cli"},
    {"__init__", "__main__"},
]


def _part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "torchreid_vi":
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "torchreid_vi"
                else [node.module]
            )
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("torchreid_vi.")]
        yield from (name.split(".")[1] for name in names)


def test_imports_go_one_way():
    level = {part: i for i, layer in enumerate(LAYERS) for part in layer}
    for path in PACKAGE.rglob("*.py"):
        own = _part(path)
        for other in _imported(path):
            assert other == own or level[other] < level[own], f"{path} imports {other}"


def test_importing_and_registering_again_changes_nothing():
    datasets, models = dict(host.IMAGE_DATASETS), set(host.MODELS)
    torchreid_vi.register()
    importlib.reload(torchreid_vi)
    assert dict(host.IMAGE_DATASETS) == datasets
    assert set(host.MODELS) == models


def test_importing_loads_no_large_library_that_torchreid_does_not_nor_repeats_its_advice():
    program = "import {}, sys; print(*{{'.'.join(name.split('.')[:2]) for name in sys.modules}})"

    def imported(package):
        command = [sys.executable, "-c", program.format(package)]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    ours = imported("torchreid_vi")
    extra = set(ours.stdout.split()) - set(imported("torchreid").stdout.split())
    heavy = {"scipy.io", "scipy.optimize", "scipy.sparse", "matplotlib.pyplot", "lightly", "faiss"}
    assert "torchreid_vi.build" in extra
    assert not extra & heavy
    assert "Cython" not in ours.stderr


@pytest.mark.parametrize(("before", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_that_wait_leave_the_cores_to_others_unless_told_otherwise(before, policy):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | before
    command = [sys.executable, "-c", "import torchreid_vi"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
