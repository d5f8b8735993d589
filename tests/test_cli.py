"""The installed command: it names its commands, finds our configs, and comes with the wheel."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from torchreid_vi import InputError, cli, load_config

ROOT = Path(__file__).parents[1]


def test_without_a_command_it_lists_them(capsys):
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.COMMANDS)


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    assert cli.main(["trian"]) == 2
    assert "unknown command 'trian': did you mean 'train'?" in capsys.readouterr().err


def test_the_entry_point_and_the_module_are_that_command(tmp_path):
    (found,) = (each for each in entry_points(group="console_scripts") if each.name == "torchreid-vi")
    assert found.load() is cli.main
    words = [sys.executable, "-m", "torchreid_vi", "synthesize", "--layout", "nothing", "--root", "x"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: unknown layout 'nothing'")


def test_a_config_of_ours_is_found_by_its_name():
    assert load_config("mcja_sysu") == load_config(str(ROOT / "configs" / "mcja_sysu.yaml"))
    with pytest.raises(InputError, match="unknown config 'mcja_syzu': did you mean 'mcja_sysu'"):
        load_config("mcja_syzu")


def test_a_wheel_has_the_configs_and_the_templates(tmp_path):
    source = tmp_path / "source"
    for name in ("torchreid_vi", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "setup.py", "-q", "sdist"], cwd=source, capture_output=True, check=True)
    (source,) = (source / "dist").glob("*.tar.gz")
    command = "-m pip wheel -q --no-deps --no-build-isolation -w".split()  # noqa: SIM905
    done = subprocess.run([sys.executable, *command, tmp_path, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    configs = {path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"torchreid_vi/{path.as_posix()}" for path in configs} <= set(names)
    assert any(name.startswith("torchreid_vi/report/") and not name.endswith(".py") for name in names)
