"""What the README shows is run: its commands, on small trees, and its Python."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SMALL = """model.name osnet_x0_25 model.pretrained False data.height 32 data.width 16 data.workers 0
sampler.num_instances 2 train.batch_size 8 train.max_epoch 1 train.staged_lr False""".split()  # noqa: SIM905


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def tools():
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    commands = [part.strip() for line in lines for part in line.split("&&")]
    return [command for command in commands if command.startswith("python tools/")]


@pytest.fixture
def checkout(tmp_path):
    """An empty folder that looks like a checkout."""
    for name in ("tools", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_the_readme_begins_with_the_two_commands():
    first = blocks("bash")[0].splitlines()
    assert first == [
        "pip install -e . && python tools/train.py --config-file configs/mcja_synthetic.yaml",
        'pip install -e ".[test]" && pytest',
    ]


def test_its_commands_run_as_written(checkout, roots):
    shutil.copytree(roots / "vi_synthetic", checkout / "reid-data" / "vi_synthetic")
    for command in tools():
        words = command.replace("/data", str(roots)).split()
        small = SMALL if words[1] in ("tools/train.py", "tools/test.py") else []
        result = subprocess.run(
            [sys.executable, *words[1:], *small],
            cwd=checkout,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert result.returncode == 0, f"{command}\n{result.stderr[-2000:]}"


def test_its_python_runs_as_written(checkout, roots, monkeypatch, capsys):
    from torchreid_vi import ENGINES, LOSSES, host

    for name, folder in (("visible", "Visible"), ("infrared", "Thermal")):
        for person in (roots / "regdb" / folder).iterdir():
            target = checkout / "reid-data" / "my_dataset" / name / person.name
            target.mkdir(parents=True)
            for image in person.iterdir():
                shutil.copy(image, target / f"{image.stem}.jpg")
    monkeypatch.chdir(checkout)
    tables = [(table, dict(table)) for table in (ENGINES, LOSSES, host.MODELS, host.IMAGE_DATASETS)]
    try:
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    finally:
        for table, before in tables:
            table.clear()
            table.update(before)
    assert capsys.readouterr().out.strip().endswith("infrared → visible")


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
