"""What README and docs/ show is run: their commands, on small trees, and their Python; and their links."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import MagicMock
from urllib.request import urlopen

import pytest
import torch
from command_lines import call, forgotten
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
#: Pages whose commands take hours; they have to be understood.
STUDIES = [f"docs/{name}.md" for name in ("ablation", "backbones", "baselines", "performance", "results")]
SMALL = """model.name osnet_x0_25 model.pretrained False data.height 32 data.width 16 data.workers 0
sampler.num_instances 2 train.batch_size 8 train.max_epoch 1 train.staged_lr False
train.lr 0.001""".split()  # noqa: SIM905
PRETRAINING = [*SMALL, "data.height", "96", "data.validation", "0.1"]
#: What the shell runs in place of a page's programs: each writes down how it was called.
STUBS = "".join(
    f"{name}() {{ printf '%s\\x1f' {name} \"$@\"; printf '\\x1e'; }}\n"
    for name in ("python", "torchrun", "pip", "pytest")
)


def blocks(language, page="README.md"):
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], flags=re.DOTALL)


def tools(page):
    """The words of each call of a tool, as the shell makes them of a page's lines."""
    script = STUBS + "\n".join(blocks("bash", page))
    called = subprocess.run(["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True, check=True)
    calls = [call.split("\x1f")[:-1] for call in called.stdout.split("\x1e")[:-1]]
    ours = ("tools/", "benchmarks/", "docs/examples/")
    return [words for words in calls if words[0] == "torchrun" or "".join(words[1:2]).startswith(ours)]


class Checkout:
    """A folder that looks like a checkout, with data; a command is run in it once, whoever shows it."""

    def __init__(self, folder, roots):
        self.folder, self.roots, self.done = folder, roots, set()
        for name in ("tools", "configs"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "docs").mkdir()
        (folder / "docs" / "examples").symlink_to(ROOT / "docs" / "examples")
        people = folder / "reid-data" / "vi_synthetic"
        shutil.copytree(roots / "vi_synthetic", people)
        for name in ("0023", "0070"):  # whom the pages search for, among fewer people
            for camera in people.glob("cam*"):
                shutil.copytree(next(camera.iterdir()), camera / name)
        for name, taken in (("visible", "Visible"), ("infrared", "Thermal")):
            shutil.copytree(roots / "regdb" / taken, folder / "footage" / name)
            for person in (roots / "regdb" / taken).iterdir():
                target = folder / "people" / name / f"person_{person.name:0>4}"
                target.mkdir(parents=True)
                for image in person.iterdir():
                    shutil.copy(image, target / f"{image.stem}.jpg")

        registers = [block for block in blocks("python", "docs/extend.md") if "\nregister_" in block]
        (folder / "mine.py").write_text("\n".join(registers))

    def run(self, words):
        if tuple(words) in self.done:
            return
        called = [{"/data": str(self.roots), "1-10": "1-2"}.get(word, word) for word in words]
        if "--seeds" in called:
            called[called.index("--seeds") + 1] = "1"
        if called[0] == "torchrun":
            called = ["python", "-m", "torch.distributed.run", *called[1:]]
            called[called.index("8")] = "2"
        small = SMALL if {*called} & {"tools/train.py", "--configs"} else []
        small = PRETRAINING if any(word.startswith("configs/mmgl_") for word in called) else small
        small = [*SMALL, "model.name", "resnet18"] if "configs/deen_synthetic.yaml" in called else small
        if called[1] == "tools/export.py" and Version(torch.__version__) < Version("2.8"):
            called += ["--format", "torch"]  # its exporter to ONNX cannot write these models
        own = {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(self.folder / "cache")}
        other = {"cwd": self.folder, "env": os.environ | own, "text": True}
        if called[1] == "-m":
            result = subprocess.run([sys.executable, *called[1:], *small], capture_output=True, **other)
        elif called[1] == "tools/demo.py":
            result = opened([sys.executable, *called[1:]], **other)
        else:
            tool = ROOT / called[1] if called[1].startswith("docs/") else Path(called[1]).name
            result = call(tool, *called[2:], *small, cwd=self.folder, **own)
        assert result.returncode == 0, f"{' '.join(words)}\n{result.stderr[-2000:]}"
        self.done.add(tuple(words))


def opened(words, **other):
    """Starts a program that serves a page, opens the page, and ends the program, of which nothing stays."""
    with tempfile.TemporaryDirectory() as folder:
        other["env"] = other["env"] | {"TMPDIR": folder}
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **other) as program:
            said = program.stdout.readline()
            for address in re.findall(r"http://\S+", said):
                assert urlopen(address).status == 200
            assert list(Path(folder).glob("torchreid_vi*"))
            program.terminate()
            out, error = program.communicate(timeout=60)
        assert "http" in said and "Traceback" not in error, error
        assert not list(Path(folder).glob("torchreid_vi*"))
    return subprocess.CompletedProcess(words, program.returncode, said + out, error)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, roots):
    return Checkout(tmp_path_factory.mktemp("checkout"), roots)


def test_the_readme_begins_with_the_two_commands():
    first = blocks("bash")[0].splitlines()
    assert first == [
        "pip install -e . && python tools/train.py --config-file configs/mcja_synthetic.yaml",
        'pip install -e ".[test]" && pytest',
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if page not in STUDIES and blocks("bash", page)])
def test_its_commands_run_as_written(checkout, page):
    checkout.run(tools("README.md")[0])  # whose run the pages use
    for words in tools(page):
        checkout.run(words)


@pytest.mark.parametrize("page", STUDIES)
def test_the_commands_of_a_study_are_understood(monkeypatch, page):
    from torchreid_vi import load_config

    monkeypatch.chdir(ROOT)
    from torchreid_vi.cli import compare, train

    for _, tool, *arguments in tools(page):
        assert (ROOT / tool).is_file()
        if tool == "tools/train.py":
            command = train.parse(arguments)
            load_config(command.file, command.overrides, command.options)
        if tool == "tools/compare.py":
            asked = compare.parse(arguments)
            assert asked.runs or compare.plan(asked)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks("python", page)])
def test_its_python_runs_as_written(checkout, monkeypatch, capsys, page):
    checkout.run(tools("README.md")[0])  # whose run the pages use
    code = blocks("python", page)
    for words in tools(page):
        if words[1] == "tools/export.py":
            checkout.run(words)
    if Version(torch.__version__) < Version("2.8"):
        code = [block for block in code if ".onnx" not in block]
    monkeypatch.chdir(checkout.folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(checkout.folder / "cache"))
    trackers = {name: MagicMock() for name in ("wandb", "mlflow")}  # nothing is sent
    for name, tracker in trackers.items():
        monkeypatch.setitem(sys.modules, name, tracker)
    names = {"__name__": "__main__"}
    with forgotten():
        for block in code:
            exec(compile(block, page, "exec"), names)
    if page == "docs/train.md":
        logged = [call.args for call in trackers["mlflow"].log_metric.call_args_list]
        tracked = trackers["wandb"].init.return_value.__enter__.return_value
        sent = [call.args[0] for call in tracked.log.call_args_list]
        for name in ("Train/loss", "all/1-shot/official/mAP"):
            assert any(name == each for each, _ in logged)
        assert any("Train/loss" in each for each in sent)
        assert "all/1-shot/official/mAP" in tracked.summary.update.call_args.args[0]
    if page == "docs/extend.md":
        assert "apart" in Path("log/corridor/train.log").read_text()
    if page == "README.md":
        assert capsys.readouterr().out.strip().endswith("infrared → visible")


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page):
    """To a file, and where it is a page, to one of its headings."""
    for target, _, heading in re.findall(r"\]\(([^)#]*)(#([^)]*))?\)", PAGES[page]):
        if target.startswith(("https://", "http://")):
            continue
        path = (ROOT / page).parent.joinpath(target) if target else ROOT / page
        assert path.exists(), target
        if heading and path.suffix == ".md":
            assert heading in headings(path.read_text(encoding="utf-8")), f"{target}#{heading}"


def headings(text):
    """The anchors that GitHub gives a page's headings."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [
        re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    ]
