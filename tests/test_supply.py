"""What setup.py installs, and the lock of .ci/run: it has all that setup.py names, in versions that it allows."""

import runpy
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
