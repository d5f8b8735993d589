"""Packages that only some commands need: asked for before the work, absent and broken ones told apart."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools
from command_lines import call
from packaging.requirements import Requirement

from torchreid_vi import InputError, load_config, run
from torchreid_vi.extras import EXTRAS, require
from torchreid_vi.report import write_comparison

ROOT = Path(__file__).parents[1]
NEEDS = {
    "report.py": ("matplotlib", "report", ["gone"]),
    "compare.py": (
        "matplotlib",
        "report",
        ["--configs", ROOT / "configs" / "base_synthetic.yaml", "--out", "out"],
    ),
    "../studies/mmgl/study.py": ("lightly", "test", ["--out", "out"]),
    "export.py": ("onnxscript", "export", ["--weights", "gone.pth", "--out", "out"]),
    "demo.py": ("gradio", "demo", ["--weights", "gone.pth", "--gallery", "gone"]),
    "search.py": (
        "huggingface_hub",
        "share",
        ["--weights", "hf://a/b", "--query", "gone.jpg", "--gallery", "gone"],
    ),
    "index.py build": ("faiss", "search", ["--weights", "gone.pth", "--gallery", "gone", "--out", "out"]),
    "index.py search": ("faiss", "search", ["--index", "gone", "--query", "gone.jpg"]),
    "train.py": (
        "huggingface_hub",
        "share",
        ["--root", "data", "model.load_weights", "hf://a/b", "data.save_dir", "out"],
    ),
}


@pytest.mark.parametrize("command", NEEDS)
def test_a_missing_package_is_asked_for_before_the_work(command, monkeypatch, tmp_path):
    package, extra, arguments = NEEDS[command]
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    tool, *words = command.split()
    done = call(tool, *words, *arguments, cwd=tmp_path)
    (said,) = [line for line in done.stderr.splitlines() if "error:" in line]
    assert done.returncode == 2 and said.startswith("error: ")
    assert f'needs {package}, which is not installed: pip install "torchreid_vi[{extra}]"' in said
    assert list(tmp_path.iterdir()) == [] and not done.stdout.strip().startswith("startup")


BLOCKED = """
import runpy, sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
sys.argv = ["report.py", "gone"]
runpy.run_path(TOOL, run_name="__main__")
"""


def test_a_program_without_the_package_says_so(tmp_path):
    tool = ROOT / "tools" / "report.py"
    program = BLOCKED.replace("TOOL", repr(str(tool)))
    environment = {"PYTHONPATH": f"{tool.parent}:{ROOT}", "PATH": ""}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert 'matplotlib, which is not installed: pip install "torchreid_vi[report]"' in done.stderr


@pytest.mark.parametrize(
    "error", ["ImportError('no libfaiss.so')", "ModuleNotFoundError('swig', name='swig')"]
)
def test_a_package_that_cannot_be_imported_is_not_called_absent(error, monkeypatch, tmp_path):
    (tmp_path / "faiss").mkdir()
    (tmp_path / "faiss" / "__init__.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    words = (
        r"an index needs faiss, which is installed and cannot be imported \((Import|ModuleNotFound)Error: "
    )
    with pytest.raises(InputError, match=words):
        require("search", "an index")


def test_the_library_asks_too(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=re.escape('pip install "torchreid_vi[report]"')):
        write_comparison([], tmp_path / "out")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    settings = {
        "model.load_weights": "hf://a/b",
        "data.root": str(tmp_path),
        "data.save_dir": str(tmp_path / "r"),
    }
    with pytest.raises(InputError, match=re.escape('pip install "torchreid_vi[share]"')):
        run(load_config(overrides=settings))
    assert list(tmp_path.iterdir()) == []


def test_extras_are_those_of_setup_py(monkeypatch):
    called = {}
    monkeypatch.setattr(setuptools, "setup", called.update)
    runpy.run_path(str(ROOT / "setup.py"))
    for extra, packages in EXTRAS.items():
        known = {Requirement(text).name for text in called["extras_require"][extra]}
        assert {{"faiss": "faiss-cpu"}.get(name, name) for name in packages} <= known
