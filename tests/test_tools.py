"""Commands as people call them: runs, their folders, resuming, and one sentence for bad input."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_lines import call

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "mcja_synthetic.yaml"
TINY = """model.name osnet_x0_25 data.height 32 data.width 16 data.workers 0 sampler.num_instances 2
train.batch_size 16 train.max_epoch 2""".split()  # noqa: SIM905


def train(roots, cwd, *arguments, config=CONFIG, **options):
    return call("train.py", "--config-file", config, "--root", roots, *arguments, *TINY, cwd=cwd, **options)


@pytest.fixture(scope="module")
def finished(roots, tmp_path_factory):
    """A finished run: its working folder, and what it wrote on standard output and standard error."""
    cwd = tmp_path_factory.mktemp("run")
    result = train(roots, cwd, "test.eval_freq", "1")
    assert result.returncode == 0, result.stderr
    return cwd, result.stdout, result.stderr


def test_a_run_prints_its_tables_which_name_their_protocols_and_nothing_else(finished):
    lines = finished[1].splitlines()
    names = ["all/1-shot/official", "indoor/1-shot/official"]
    assert len(lines) == 22  # a table after each epoch
    for title, how, head, *rows in (lines[:11], lines[11:]):
        assert title == "vi_synthetic (synthetic, split 0)" and how.startswith("cosine distance")
        assert head.split() == ["R1", "R5", "R10", "R20", "mAP", "mINP", "trials"]
        assert [row.split()[0] for row in rows[:4]] == [names[0], "±", names[1], "±"]
        assert [row.split()[0] for row in rows[4::2]] == [f"{name}:" for name in names]
        assert all("official draw of the gallery" in row for row in rows[4::2])


def test_a_training_ends_with_its_report_which_begins_with_ranked_galleries(roots, tmp_path):
    done = train(roots, tmp_path, "train.max_epoch", "0", report=True)
    page = tmp_path / "log" / "mcja_synthetic" / "report.html"
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == f"Written: {page}"
    titles = re.findall("<h2>(.*?)</h2>", page.read_text())
    assert titles[:2] == ["Ranked galleries", "Metrics"]


def test_its_log_has_what_both_streams_had(finished):
    cwd, out, error = finished
    lines = (cwd / "log" / "mcja_synthetic" / "train.log").read_text().splitlines()
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d Training on ", lines[0])
    log = [re.sub(r"^20\S+ \d\d:\d\d:\d\d ", "", line) for line in lines]
    printed = out.splitlines()
    assert [line for line in log if line in printed] == printed
    assert "=> Final test" in log
    notes = iter(error.splitlines())  # with warnings and progress among them
    assert all(line in notes for line in log if line not in printed)
    assert all(len(line) <= 100 for line in [*printed, *log] if str(cwd) not in line and "Cached" not in line)


def test_a_run_folder_holds_all_of_a_run(finished):
    cwd = finished[0]
    folder = cwd / "log" / "mcja_synthetic"
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "environment.json", "train.log", "results.json", "checkpoints"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["name"] == "osnet_x0_25"
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]
    results = json.loads((folder / "results.json").read_text())
    assert results["epoch"] == 2 and results["seed"] == 1
    assert results["versions"] == environment["packages"]
    assert results["results"][0]["dataset"] == {"name": "vi_synthetic", "synthetic": True, "split": 0}
    assert results["training"].keys() == {"seconds", "images", "parameters"}
    assert results["training"]["images"] == 16 * 2 * math.ceil(96 / 8) and results["training"]["seconds"] > 0
    rankings = np.load(folder / "rankings.npz")
    for trial, figures in enumerate(results["results"][1]["trials"]):
        assert len(set(rankings[f"1/{trial}/query"])) == figures["queries"]
        assert 100 * np.mean(rankings[f"1/{trial}/first"] <= 1) == pytest.approx(figures["R1"])
        assert 100 * np.mean(rankings[f"1/{trial}/ap"]) == pytest.approx(figures["mAP"], abs=1e-3)
    log = (folder / "train.log").read_text()
    plan = "Training on vi_synthetic for 2 epochs, then testing on vi_synthetic; all goes to"
    assert f"{plan} {folder}\n" in log and log.endswith(f" Written: {folder}\n")
    assert "Augmentation, visible: maa, " in log and "all/1-shot/official" in log and "object at" not in log


def test_evaluation_of_a_run_gives_the_same_metrics(finished, tmp_path):
    cwd = finished[0]
    weights = cwd / "log" / "mcja_synthetic"
    result = call("test.py", "--weights", weights, cwd=cwd)
    assert result.returncode == 0, result.stderr
    alone = shutil.copy(weights / "checkpoints" / "last.pth", tmp_path)
    refused = call("test.py", "--weights", alone, cwd=tmp_path)
    assert refused.returncode == 2 and "lies in no run's folder: name a --config-file" in refused.stderr
    read = [
        json.loads((cwd / "log" / folder / "results.json").read_text())
        for folder in ("mcja_synthetic", "mcja_synthetic-test")
    ]
    assert read[0]["results"] == read[1]["results"]
    assert read[1]["weights"] == str(weights) and read[1]["weights_epoch"] == 2
    left = {path.name for path in (cwd / "log" / "mcja_synthetic-test").iterdir()}
    assert "test.log" in left and not {"train.log", "checkpoints"} & left


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_a_broken_run_ends_by_the_same_command_as_the_unbroken(finished, roots, tmp_path, number, status):
    command = [sys.executable, str(ROOT / "tools" / "train.py"), "--config-file", str(CONFIG)]
    command += ["--root", str(roots), "test.eval_freq", "1", *TINY]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    last = tmp_path / "log" / "mcja_synthetic" / "checkpoints" / "last.pth"
    deadline = time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == status and "Traceback" not in error
    assert ("interrupted: the same command goes on from here" in error) == (status > 0)
    assert torch.load(last, weights_only=True)["epoch"] == 1
    result = train(roots, tmp_path, "test.eval_freq", "1")
    assert result.returncode == 0, result.stderr
    assert "Resumed after epoch 1" in result.stderr
    assert not (tmp_path / "log" / "mcja_synthetic-2").exists()
    unbroken = finished[0] / "log" / "mcja_synthetic"
    resumed = tmp_path / "log" / "mcja_synthetic"
    contents = [json.loads((folder / "results.json").read_text()) for folder in (resumed, unbroken)]
    for content in contents:
        assert content["training"].pop("seconds") > 0
    assert contents[0] == contents[1]
    states = [
        torch.load(f / "checkpoints" / "last.pth", weights_only=True)["state_dict"]
        for f in (unbroken, resumed)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_several_sources_and_targets_and_transforms_with_settings_behind_them(roots, tmp_path):
    asked = "-s vi_synthetic regdb -t regdb llcm --transforms maa random_flip".split()  # noqa: SIM905
    options = ["--config-file", CONFIG, "--root", roots, *asked, *TINY, "train.max_epoch", "1"]
    result = call("train.py", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "log" / "mcja_synthetic" / "results.json").read_text())["results"]
    assert [f"{r['dataset']['name']} {r['protocol']['name']}" for r in results] == [
        "regdb visible-to-infrared",
        "regdb infrared-to-visible",
        "llcm infrared-to-visible/A",
        "llcm visible-to-infrared/A",
    ]


MMGL = """loss.name mmgl loss.terms [permutation] loss.weights [1.0] data.validation 0.1
sampler.train_sampler ModalityPairSampler"""
#: Bad options, and a part of the answer.
BAD = {
    "--root nowhere -s sysu_mm01": "--root",
    "-s sysu_mm02": "did you mean 'sysu_mm01'",
    "data.height 0": "data.height is 0: it must be from 1 to 8192",
    "train.lrr 1": "did you mean 'train.lr'",
    "--transforms random_flop": "did you mean 'random_flip'",
    "sampler.train_sampler RandomIdentitySample": "did you mean 'RandomIdentitySampler'",
    "train.precision bf17": "did you mean 'bf16'",
    "train.memory_format channel_last": "did you mean 'channels_last'",
    "sampler.num_instances 5": "train.batch_size 16 is not a multiple",
    "loss.terms [] loss.weights []": "loss.terms is empty",
    "model.load_weights w.pth": "w.pth not found",
    "model.resume w.pth": "w.pth not found",
    "model.resume .": "is a folder: set model.resume to a run's checkpoints/last.pth",
    f"model.load_weights {CONFIG}": "is not a checkpoint",
    "test.protocols [all/2-shot]": "unknown protocol",
    "model.resume a model.load_weights b": "both set",
    "test.evaluate True": "model.load_weights",
    "adam.beta1 2": "optimiser's settings",
    "train.fixbase_epoch 1 train.open_layers [clasifier]": "did you mean 'classifier'",
    "-t cuhk03": "dataset cuhk03 cannot be loaded",
    "test.visrank True": "test.visrank",
    MMGL: "data.height 32 is not a multiple of loss.mmgl.stripes 6",
    f"{MMGL} data.height 96 test.mser True": "pre-training retrieves nothing",
    "-s vi_folder": "holds neither visible/ nor infrared/",
    "loss.terms [identity,permutation]": "loss.terms permutation reads",
    "test.mser True mser.weight 2": "the weight lies in [0, 1]",
    "--trials 0-3": "they count from 1",
    "--seeds all": "write them as in 1-10",
    "--seeds 1-2 model.resume x.pth": "leave model.resume empty",
    "data.save_dir taken/x": "data.save_dir",
    "data.save_dir taken": "taken is a file: choose another data.save_dir",
    "--seeds 1 train.max_epoch 0": "set it to at least 1",
    "--trials 1-2": "vi_synthetic has one split, 0",
}


def test_trials_and_seeds_are_run_in_turn_and_go_on_where_they_were_interrupted(roots, tmp_path):
    config = ROOT / "configs" / "base_regdb.yaml"
    series = ["--trials", "1-2", "--seeds", "3,5", "model.pretrained", "False", "train.staged_lr", "False"]
    first = train(roots, tmp_path, *series, config=config)
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "log" / "base_regdb"
    runs = ["trial1-seed3", "trial1-seed5", "trial2-seed3", "trial2-seed5"]
    assert sorted(path.name for path in folder.iterdir()) == ["summary.json", *runs]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["runs"] == runs
    results = [json.loads((folder / run / "results.json").read_text())["results"][0] for run in runs]
    each = [result["mean"]["mAP"] for result in results]
    assert summary["results"][0]["each"]["mAP"] == each
    assert [result["dataset"]["split"] for result in results] == [0, 0, 1, 1]
    assert "all goes to" not in first.stdout
    table = first.stdout[first.stdout.rindex("mean ± sample deviation over 4 runs") :]
    assert f" {sum(each) / 4:.2f} " in table and "visible-to-infrared" in table
    (folder / runs[3] / "results.json").unlink()  # as if killed before its test
    again = train(roots, tmp_path, *series, config=config)
    assert again.stdout[again.stdout.rindex("mean ± sample") :] == table
    assert again.stderr.count("Resumed after epoch 2") == 1 and "training:" not in again.stderr


@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_sentence_with_status_2_and_leaves_nothing(arguments, roots, tmp_path):
    (tmp_path / "taken").write_text("a file")
    options = ["--config-file", CONFIG, "--root", roots, *TINY, *arguments.split()]
    result = call("train.py", *options, cwd=tmp_path)
    assert result.returncode == 2
    assert (last := result.stderr.strip().splitlines()[-1]).startswith("error: ") and BAD[arguments] in last
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


def test_a_corrupt_image_is_named(copy_of, tmp_path):
    root = copy_of("sysu_mm01")
    bad = next((root / "sysu_mm01" / "cam1").glob("*/0001.jpg"))
    bad.write_bytes(bad.read_bytes()[:200])
    options = ["--config-file", CONFIG, "--root", root, "-s", "sysu_mm01", *TINY, "data.workers", "1"]
    result = call("train.py", *options, cwd=tmp_path)
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode == 2 and last.startswith(f"error: image {bad} is corrupt or truncated")
