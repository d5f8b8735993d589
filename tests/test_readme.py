"""What README and docs/mmgl.md show is run: their commands, on small trees, and the README's Python."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "docs/mmgl.md")}
SMALL = """model.name osnet_x0_25 model.pretrained False data.height 32 data.width 16 data.workers 0
sampler.num_instances 2 train.batch_size 8 train.max_epoch 1 train.staged_lr False""".split()  # noqa: SIM905
PRETRAINING = [*SMALL, "data.height", "96", "data.validation", "0.1"]


def blocks(language, page="README.md"):
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], flags=re.DOTALL)


def tools(page):
    lines = [line for block in blocks("bash", page) for line in block.splitlines()]
    commands = [part.strip() for line in lines for part in line.split("&&")]
    return [command for command in commands if command.startswith(("python tools/", "torchrun "))]


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


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_run_as_written(checkout, roots, page):
    shutil.copytree(roots / "vi_synthetic", checkout / "reid-data" / "vi_synthetic")
    for name, folder in (("visible", "Visible"), ("infrared", "Thermal")):
        shutil.copytree(roots / "regdb" / folder, checkout / "footage" / name)
    for command in tools(page):
        words = (
            command.replace("/data", str(roots))
            .replace("1-10", "1-2")
            .replace("--seeds 3", "--seeds 1")
            .split()
        )
        if words[0] == "torchrun":
            words = ["python", "-m", "torch.distributed.run", *words[1:]]
            words[words.index("8")] = "2"
        small = SMALL if {*words} & {"tools/train.py", "tools/test.py", "tools/compare.py"} else []
        small = PRETRAINING if "configs/mmgl_" in command else small
        result = subprocess.run(
            [sys.executable, *words[1:], *small],
            cwd=checkout,
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(checkout / "cache")},
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
    shutil.copytree(roots / "vi_synthetic", checkout / "reid-data" / "vi_synthetic")
    first = tools("README.md")[0].split()
    subprocess.run([sys.executable, *first[1:], *SMALL], cwd=checkout, capture_output=True, check=True)
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("XDG_CACHE_HOME", str(checkout / "cache"))
    tables = [(table, dict(table)) for table in (ENGINES, LOSSES, host.MODELS, host.IMAGE_DATASETS)]
    try:
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    finally:
        for table, before in tables:
            table.clear()
            table.update(before)
    assert capsys.readouterr().out.strip().endswith("infrared → visible")


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES[page]):
        assert target.startswith("https://") or (ROOT / page).parent.joinpath(target).exists(), target
