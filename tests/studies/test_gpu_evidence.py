"""The GPU evidence: its plan, a few of its tiny runs, what it repeats, and its deadline."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from command_lines import call

STUDIES = Path(__file__).parents[2] / "studies"
sys.path.insert(0, str(STUDIES))

import gpu_evidence  # noqa: E402
import gpu_plan  # noqa: E402
import study  # noqa: E402

from torchreid_vi import InputError, load_config  # noqa: E402

CHOSEN = ("1/resnet18/base", "1/mobilenetv2/mmgl", "1/mobilenetv2/mmgl/base")
OTHERS = [run.name for run in gpu_plan.plan(gpu_plan.TINY) if run.name not in CHOSEN]
ENVIRONMENT = {"gpu": "A GPU", "python": "3", "packages": {"torch": "2"}, "cpus": 16}


def row(part="methods", seconds=10.0, **changes):
    metrics = {"R1": 1.5, "mAP": 2.5, "mINP": 3.5}
    return {
        "part": part,
        "method": "mcja",
        "start": "random",
        "seed": 1,
        "metrics": metrics,
        "epochs": 2,
        "seconds": seconds,
        "images_per_second": 1234.5,
        "parameters": 2_500_000,
        "protocol": "all/1-shot/official",
        "flip": False,
        "environment": 0,
    } | changes


def evidence_of(runs):
    return {
        "command": "python studies/gpu_evidence.py",
        "scale": asdict(gpu_plan.TINY),
        "environments": [ENVIRONMENT],
        "runs": runs,
    }


def collect(out, *arguments):
    """Run the command at its tiny scale, without a network."""
    return call(STUDIES / "gpu_evidence.py", "--tiny", "--out", out, *arguments, PIP_NO_INDEX=1)


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """Evidence that has all but three runs before the command makes them."""
    out = tmp_path_factory.mktemp("evidence")
    (out / "evidence.json").write_text(json.dumps(evidence_of({name: row() for name in OTHERS})))
    result = collect(out, "--minutes", "10", "--jobs", "2")
    assert result.returncode == 0, result.stderr
    return out, result


def test_every_config_on_synthetic_people_that_retrieves_is_a_method():
    configs = {path.stem.removesuffix("_synthetic") for path in study.CONFIGS.glob("*_synthetic.yaml")}
    assert set(gpu_plan.METHODS) == configs - {"mmgl", "mmgl_plus"}


@pytest.mark.parametrize("scale", [gpu_plan.FULL, gpu_plan.TINY])
def test_every_run_has_a_name_of_its_own_and_comes_after_its_start(scale):
    names = [run.name for run in gpu_plan.plan(scale)]
    assert len(names) == len(set(names)) == 9 + 3 + 10
    for run in gpu_plan.plan(scale):
        assert not run.start or names.index(run.start) < names.index(run.name)
        if not run.name.endswith("simclr"):  # which the study of MMGL registers
            load_config(str(study.CONFIGS / f"{run.config}.yaml"), run.settings)


def test_the_evidence_holds_what_the_runs_found(collected):
    out, _ = collected
    content = json.loads((out / "evidence.json").read_text())
    assert all(content["runs"][name] == row() for name in OTHERS)
    for name in CHOSEN:
        found, results = content["runs"][name], json.loads((out / name / "run" / "results.json").read_text())
        first = results["results"][0]
        metrics = first["pretext"] if name.endswith("mmgl") else first["mean"]
        assert found["metrics"].items() <= {key: round(value, 2) for key, value in metrics.items()}.items()
        assert found["parameters"] == results["training"]["parameters"]
        assert (found["seed"], found["epochs"]) == (1, 1)
        assert found["images_per_second"] > 0 and found["seconds"] > 0
    base, mmgl, tuned = (content["runs"][name] for name in CHOSEN)
    assert list(base["metrics"]) == ["R1", "mAP", "mINP"] and "stripe_accuracy" in mmgl["metrics"]
    assert [each["part"] for each in (base, mmgl, tuned)] == ["methods", "pre-training", "fine-tuning"]
    assert (tuned["method"], tuned["start"]) == ("base", "mmgl")
    environment = content["environments"][base["environment"]]
    assert environment["gpu"] is None and "torch" in environment["packages"]
    assert len(json.dumps(content)) < 10_000
    start = (out / CHOSEN[2] / "run" / "train.log").read_text()
    assert f"tensors from {out / CHOSEN[1] / 'run' / 'backbone.pth'}" in start


def test_what_the_evidence_has_is_not_run_again(collected):
    out, _ = collected
    assert {path.parents[1].relative_to(out).as_posix() for path in out.glob("**/results.json")} == set(
        CHOSEN
    )
    before = (out / "evidence.json").read_bytes()
    assert collect(out, "--minutes", "10").returncode == 0
    assert (out / "evidence.json").read_bytes() == before


def test_a_pretraining_is_repeated_only_for_a_backbone_that_is_needed(tmp_path):
    planned = gpu_plan.plan(gpu_plan.TINY)
    (pretraining,) = (run for run in planned if run.name == CHOSEN[1])
    done = {run.name: row() for run in planned}
    assert not gpu_evidence.is_missing(pretraining, planned, done, tmp_path)
    del done[CHOSEN[2]]
    assert gpu_evidence.is_missing(pretraining, planned, done, tmp_path)
    backbone = tmp_path / CHOSEN[1] / "run" / "backbone.pth"
    backbone.parent.mkdir(parents=True)
    backbone.touch()
    assert not gpu_evidence.is_missing(pretraining, planned, done, tmp_path)


def test_at_the_deadline_nothing_starts_and_the_table_says_so(tmp_path):
    result = collect(tmp_path, "--minutes", "0")
    assert result.returncode == 0, result.stderr
    names = ", ".join(run.name for run in gpu_plan.plan(gpu_plan.TINY))
    assert result.stdout == f"Not run: {names}.\n"
    assert "ImageNet is left out: PyPI is out of reach" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_run_is_expected_to_take_what_its_part_took():
    run = gpu_plan.plan(gpu_plan.TINY)[0]
    assert gpu_evidence.expected(run, {"a": row("fine-tuning", 500)}) == gpu_evidence.FIRST
    done = {"a": row(seconds=10), "b": row(seconds=30)}
    assert gpu_evidence.expected(run, done) == 20 + gpu_evidence.AROUND


def test_the_table_of_a_file(tmp_path):
    pretraining = row("pre-training", method="mmgl", metrics={"stripe_accuracy": 97.5, "exact_match": 90.0})
    runs = {
        "1/resnet18/mcja": row(),
        "1/resnet18/deen": row(method="deen", flip=True),
        "1/mobilenetv2/mmgl": pretraining,
        "1/mobilenetv2/imagenet/mcja": row("fine-tuning", start="imagenet"),
    }
    (tmp_path / "evidence.json").write_text(json.dumps(evidence_of(runs)))
    result = call(STUDIES / "gpu_evidence.py", "--table", tmp_path / "evidence.json")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "| mcja | 1.50 | 2.50 | 3.50 | 2 | 10 | 1,234 | 2.5 |" in lines
    assert "| deen, flip-averaged | 1.50 | 2.50 | 3.50 | 2 | 10 | 1,234 | 2.5 |" in lines
    assert "| MMGL | stripe accuracy 97.50, exact match 90.00 | 2 | 10 | 1,234 | 2.5 |" in lines
    assert "| ImageNet | mcja | 1.50 | 2.50 | 3.50 | 2 | 10 | 1,234 | 2.5 |" in lines
    assert lines[-2].startswith("Protocol: all/1-shot/official. A GPU, 16 cores, torch 2; `python studies")
    assert lines[-1].startswith("Not run: 1/resnet18/base, 1/mobilenetv2/mmgl_plus,")


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_file_that_is_no_evidence_is_refused(tmp_path, content):
    (tmp_path / "evidence.json").write_text(content)
    with pytest.raises(InputError, match=r"evidence\.json .*: remove it, or name another --out"):
        gpu_evidence.read(tmp_path / "evidence.json")


def test_evidence_of_another_size_is_refused(tmp_path):
    content = evidence_of({}) | {"scale": asdict(gpu_plan.FULL)}
    (tmp_path / "evidence.json").write_text(json.dumps(content))
    result = collect(tmp_path)
    assert result.returncode == 2 and "is of runs of another size" in result.stderr
