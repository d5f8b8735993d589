"""What setup.py installs, and the lock of .ci/run: it has all that setup.py names, in versions that it allows."""

import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from torchreid_vi.extras import EXTRAS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def named():
    """The keywords that setup.py calls setuptools with."""
    called = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", called.update)
        runpy.run_path(str(ROOT / "setup.py"))
    return called


@pytest.fixture(scope="module")
def locked():
    lines = (ROOT / ".ci" / "lock.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_the_lock_has_one_version_of_everything_that_setup_py_allows(named, locked, python):
    here = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    pins = {}
    for pin in locked:
        if pin.marker is None or pin.marker.evaluate(here):
            assert pins.setdefault(canonicalize_name(pin.name), pin) is pin, f"{pin} is there twice"
    for text in [*named["install_requires"], *named["extras_require"]["test"]]:
        wanted = Requirement(text)
        pin = pins[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(next(iter(pin.specifier)).version), f"{pin} is not {wanted}"


def test_what_a_tool_needs_is_among_what_the_tests_need(named):
    tested = {Requirement(text).name: text for text in named["extras_require"]["test"]}
    for extra, packages in EXTRAS.items():
        known = {Requirement(text).name for text in named["extras_require"][extra]}
        assert {{"faiss": "faiss-cpu"}.get(name, name) for name in packages} <= known
    for extra, wanted in named["extras_require"].items():
        assert {tested[Requirement(text).name] for text in wanted} == set(wanted), extra


@pytest.mark.skipif(Version(setuptools.__version__) < Version("70.1"), reason="builds no wheel by itself")
def test_an_editable_install_is_found_from_the_folder_of_the_clone(tmp_path):
    clone, site = tmp_path / "torchreid_vi", tmp_path / "site"
    (clone / "torchreid_vi").mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, clone)
    (clone / "torchreid_vi" / "__init__.py").write_text("found = True\n")
    build = f"from setuptools.build_meta import build_editable; build_editable({str(site)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=clone, check=True, capture_output=True)
    (wheel,) = site.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    program = f"import site; site.addsitedir({str(site)!r}); import torchreid_vi; assert torchreid_vi.found"
    subprocess.run(
        [sys.executable, "-ISc", "import sys; sys.path.insert(0, ''); " + program], cwd=tmp_path, check=True
    )
