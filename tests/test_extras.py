"""Packages that only some commands need: asked for before the work, absent and broken ones told apart."""

import re
import sys
from pathlib import Path

import pytest
from command_lines import call

from torchreid_vi import InputError, load_config, run
from torchreid_vi.extras import require

ROOT = Path(__file__).parents[1]
#: A tool with its arguments, the package that it needs, and the extra that has it.
NEEDS = {
    "../studies/mmgl/study.py --out out": "lightly test",
    "export.py --weights gone.pth --out out": "onnxscript export",
    "demo.py --weights gone.pth --gallery gone": "gradio demo",
    "search.py --weights hf://a/b --query gone.jpg --gallery gone": "huggingface_hub share",
    "index.py build --weights gone.pth --gallery gone --out out": "faiss search",
    "index.py search --index gone --query gone.jpg": "faiss search",
    "train.py --root data model.load_weights hf://a/b data.save_dir out": "huggingface_hub share",
}


@pytest.mark.parametrize("command", NEEDS)
def test_a_missing_package_is_asked_for_before_the_work(command, monkeypatch, tmp_path):
    package, extra = NEEDS[command].split()
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    done = call(*command.split(), cwd=tmp_path)
    (said,) = [line for line in done.stderr.splitlines() if "error:" in line]
    assert done.returncode == 2 and said.startswith("error: ")
    assert f'needs {package}, which is not installed: pip install "torchreid_vi[{extra}]"' in said
    assert list(tmp_path.iterdir()) == [] and not done.stdout.strip().startswith("startup")


def test_a_package_that_cannot_be_imported_is_not_called_absent(monkeypatch, tmp_path):
    (tmp_path / "faiss").mkdir()
    (tmp_path / "faiss" / "__init__.py").write_text("raise ImportError('no libfaiss.so')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    words = r"an index needs faiss, which is installed and cannot be imported \(ImportError: "
    with pytest.raises(InputError, match=words):
        require("search", "an index")


def test_the_library_asks_too(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    settings = {
        "model.load_weights": "hf://a/b",
        "data.root": str(tmp_path),
        "data.save_dir": str(tmp_path / "r"),
    }
    with pytest.raises(InputError, match=re.escape('pip install "torchreid_vi[share]"')):
        run(load_config(overrides=settings))
    assert list(tmp_path.iterdir()) == []
