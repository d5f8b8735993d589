"""Comparisons from run folders: who belongs together, the table, the page, and the command line."""

import csv
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_lines import call

from torchreid_vi import InputError, load_config
from torchreid_vi.cli import compare as compare_tool
from torchreid_vi.report import PUBLISHED, collect, published, write_comparison
from torchreid_vi.report.comparison import differences

ROOT = Path(__file__).parents[2]
LABEL = "visible-to-infrared"
BASE = ROOT / "configs" / "base_synthetic.yaml"


@pytest.fixture
def make_run(tmp_path):
    """Write a run folder as a run leaves it, from the ranks that its queries found."""

    def make(name, firsts, synthetic=True, label=LABEL, **settings):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        changes = {key.replace("__", "."): value for key, value in settings.items()}
        (folder / "config.yaml").write_text(load_config(overrides=changes).dump())
        first = np.array(firsts)
        mean = {"R1": 100 * np.mean(first <= 1), "mAP": 100 * np.mean(1 / first), "mINP": 1.0}
        dataset = {"name": "regdb", "synthetic": synthetic, "split": 0}
        result = {"label": label, "dataset": dataset, "mean": mean}
        training = {"seconds": 120.0, "images": 6000, "parameters": 2_500_000}
        (folder / "results.json").write_text(json.dumps({"training": training, "results": [result]}))
        query = np.arange(len(first))
        np.savez(folder / "rankings.npz", **{"0/0/query": query, "0/0/first": first, "0/0/ap": 1 / first})
        return folder

    return make


def test_runs_that_differ_in_seed_or_trial_alone_are_one_method(make_run):
    folders = [
        make_run("base-0123abcd/seed1", [1, 2], train__seed=1),
        make_run("base-0123abcd/seed2", [1, 1], train__seed=2),
        make_run("log/mcja", [1, 1], loss__terms=["cmr"]),
        make_run("ten/trial2", [1, 1], data__split_id=1, train__lr=0.5),
    ]
    methods = collect(folders)
    assert [f"{method.name} {len(method.folders)}" for method in methods] == ["base 2", "mcja 1", "ten 1"]
    assert methods[0].values(LABEL, "R1") == [50.0, 100.0]
    assert methods[0].cost() == pytest.approx((2.5, 2.0, 50.0))


def test_scores_and_curves_are_means_over_runs_by_hand(make_run):
    (method,) = collect([make_run("a/seed1", [1, 2, 4]), make_run("a/seed2", [1, 1, 2], train__seed=2)])
    scores = method.scores(LABEL)
    assert [tuple(scores[query]) for query in range(3)] == [(1.0, 1.0), (0.5, 0.75), (0.0, 0.375)]
    np.testing.assert_allclose(method.cmc(LABEL, 4), [0.5, 5 / 6, 5 / 6, 1.0])


def test_a_difference_is_of_the_queries_that_all_methods_have(make_run):
    better, worse = [1] * 60, [1] * 20 + [3] * 40
    methods = collect([make_run("a", better), make_run("b", worse, train__lr=0.5)])
    (r1, mean_ap), (back, _) = (differences(methods, LABEL)[pair] for pair in ((0, 1), (1, 0)))
    assert r1.mean == pytest.approx(100 * 40 / 60) and back.mean == pytest.approx(-r1.mean)
    assert mean_ap.mean == pytest.approx(100 * 40 / 60 * (1 - 1 / 3))
    assert r1.beyond_noise and r1.low > 50


def test_tables_and_page_hold_the_figures_and_the_page_needs_nothing_else(make_run, tmp_path):
    runs = [make_run("agw_regdb/seed1", [1, 2], synthetic=False), make_run("b<i>", [1, 1], train__lr=0.5)]
    methods = collect([*runs, make_run("agw_regdb/seed2", [1, 1], synthetic=False, train__seed=2)])
    paths = write_comparison(methods, tmp_path / "out")
    assert [path.suffix for path in paths] == [".md", ".csv", ".svg", ".html"]
    markdown, table, picture, page = (path.read_text() for path in paths)
    plain = re.sub(" +", " ", markdown)
    rows = list(csv.DictReader(table.splitlines()))
    assert rows[0]["R1"] == "75.00 ± 35.36" and rows[0]["runs"] == "2" and rows[1]["R1"] == "100.00"
    assert rows[0]["published R1 / mAP"] == "70.05 / 66.37" and rows[1]["published R1 / mAP"] == ""
    assert "| agw_regdb | visible-to-infrared | 75.00 ± 35.36 |" in plain
    assert "best on the test data" in markdown and "best on the test data" in page
    assert "mAP: row less column" in markdown and page.count("row less column") == 2
    assert "75.00 ± 35.36" in page and "Cross-Modal-Re-ID-baseline" in page
    assert "b&lt;i&gt;" in page and "<i>" not in page.split("<svg")[0]
    assert not re.search(r'(src|href)="(?!#)', page) and "@import" not in page
    assert page.count("<svg") == 1 and picture[picture.index("<svg") :] in page
    again = write_comparison(methods, tmp_path / "out")
    assert [path.read_text() for path in again] == [markdown, table, picture, page]


def test_published_figures_stand_beside_the_same_protocol_alone(make_run, tmp_path):
    assert published("agw", "sysu_mm01", "all/1-shot/seeded").map == 47.65
    assert (
        published("agw", "sysu_mm01", "all/1-shot/official") is None
    )  # AGW's code evaluates the seeded draw
    assert published("mcja_journal", "sysu_mm01", "all/1-shot/official + MSER").r1 == 89.51
    for known in PUBLISHED:
        draw = "official" if known.method.startswith("mcja") else "seeded"
        assert known.source and (known.dataset == "regdb" or known.label.split(" ")[0].endswith(f"/{draw}"))
    synthetic = collect([make_run("agw_regdb", [1, 2], synthetic=True)])
    paths = write_comparison(synthetic, tmp_path / "out")
    assert ["published" in path.read_text().splitlines()[0] for path in paths[:2]] == [False, True]


def test_a_folder_without_a_finished_run_is_named(make_run, tmp_path):
    folder = make_run("a", [1])
    (folder / "results.json").unlink()
    with pytest.raises(InputError, match=r"a has no results.json: name folders of finished"):
        collect([folder])
    others = [make_run("c/seed1", [1]), make_run("c/seed2", [1], label="other", train__seed=2)]
    with pytest.raises(InputError, match="evaluate them alike"):
        collect(others)


def test_a_run_is_counted_once(make_run):
    one, copy = make_run("a", [1]), make_run("b", [1])
    for twice in ([one, one], [one, one.parent / "." / "a"], [one, copy]):
        with pytest.raises(InputError, match="are the same run, of one seed: name one of them"):
            collect(twice)
    assert len(collect([one, make_run("c", [1], train__seed=7)])[0].folders) == 2


def test_figures_of_different_people_are_not_compared(make_run):
    one, other = make_run("a", [1]), make_run("b", [1], data__sources=["llcm"])
    results = other / "results.json"
    results.write_text(results.read_text().replace("regdb", "llcm"))
    with pytest.raises(InputError, match=r"a on regdb and .*b on llcm: name runs of one dataset"):
        collect([one, other])
    assert [len(collect([folder])) for folder in (one, other)] == [1, 1]


def compare(cwd, *arguments):
    return call("compare.py", *arguments, cwd=cwd)


TINY = """model.name osnet_x0_25 data.height 32 data.width 16 data.workers 0 sampler.num_instances 2
train.batch_size 16 train.max_epoch 1""".split()  # noqa: SIM905


def test_the_command_runs_what_is_missing_and_ends_with_the_same_table(roots, tmp_path):
    configs = [ROOT / "configs" / f"{name}_synthetic.yaml" for name in ("torchreid_softmax", "caj")]
    asked = ["--configs", *configs, "--seeds", "2", "--out", "out", "--root", roots, *TINY]
    first = compare(tmp_path, *asked)
    assert first.returncode == 0, first.stderr
    table = (tmp_path / "out" / "comparison.md").read_text()
    cells = [[line.split("|") for line in text.splitlines()] for text in (first.stdout, table)]
    shown = [1, 2, 3, 4, 6]  # without mINP and costs
    assert cells[0] == [["", *(row[i] for i in shown), ""] for row in cells[1][: len(cells[0])]]
    assert "| caj_synthetic " in first.stdout and max(map(len, first.stdout.splitlines())) <= 100
    said = re.findall(
        r"Run (\d) of 4: (\S+)/seed(\d), all/1-shot/official: R1 [\d.]+, mAP [\d.]+", first.stderr
    )
    assert [(number, seed) for number, _, seed in said] == [("1", "1"), ("2", "1"), ("3", "2"), ("4", "2")]
    results = sorted((tmp_path / "out" / "runs").glob("*/seed*/results.json"))
    times = [path.stat().st_mtime_ns for path in results]
    results[3].unlink()  # as if killed before its test
    assert compare(tmp_path, *asked).returncode == 0
    assert (tmp_path / "out" / "comparison.md").read_text() == table
    now = [path.stat().st_mtime_ns for path in results]
    assert now[:3] == times[:3] and now[3] != times[3]
    folders = [path.parent for path in (*results[2:], *results[:2])]
    shown = compare(tmp_path, "--runs", *folders, "--out", "shown")
    assert shown.returncode == 0 and shown.stdout == first.stdout, shown.stderr


def test_varied_settings_make_a_config_of_each_combination_and_seeds_come_last():
    asked = ["--configs", str(BASE), str(BASE.with_name("mcja_synthetic.yaml")), "data.width", "16"]
    asked += ["--vary", "model.name", "resnet18", "osnet_x0_25", "--vary", "data.maa", "[wg, cc]", "[]"]
    asked += ["--seeds", "2", "--out", "out", "train.lr", "0.5"]
    runs = compare_tool.plan(compare_tool.parse(asked))
    chosen = [(cfg.train.seed, cfg.model.pooling, cfg.model.name, cfg.data.maa) for cfg in runs]
    assert chosen == [
        (seed, pooling, name, maa)
        for seed in (1, 2)
        for pooling in ("avg", "gem")
        for name in ("resnet18", "osnet_x0_25")
        for maa in (["wg", "cc"], [])
    ]
    assert all((cfg.data.width, cfg.train.lr) == (16, 0.5) for cfg in runs)
    folders = [cfg.data.save_dir for cfg in runs]
    assert len(set(folders)) == 16
    mark = r"-[0-9a-f]{8}"
    assert re.fullmatch(rf"out/runs/base_synthetic,name=resnet18,maa=wg\+cc{mark}/seed1", folders[0])
    assert re.fullmatch(rf"out/runs/mcja_synthetic,name=osnet_x0_25,maa=none{mark}/seed2", folders[-1])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([str(BASE)], "base_synthetic and base_synthetic are the same method"),
        (["--vary", "data.workers", "0", "1"], "workers=1 are the same method: repeat runs by --seeds"),
        (["train.seed", "7"], "train.seed is what --seeds counts"),
        (["--vary", "train.lr", "1", "--vary", "train.lr", "2"], "--vary train.lr comes twice"),
        (["test.evaluate", "True", "model.load_weights", "a"], "test.evaluate is True: leave it False"),
        ([str(BASE.with_name("mmgl_synthetic.yaml"))], "mmgl_synthetic pre-trains and retrieves nothing"),
    ],
)
def test_what_is_no_comparison_is_refused_before_anything_runs(asked, said):
    with pytest.raises(InputError, match=re.escape(said)):
        compare_tool.plan(compare_tool.parse(["--configs", str(BASE), *asked, "--out", "out"]))


def test_two_at_a_time_and_killed_in_the_middle_the_same_command_ends_with_the_same_table(roots, tmp_path):
    config = ROOT / "configs" / "mcja_synthetic.yaml"
    asked = ["--configs", config, "--vary", "loss.cmr.epsilon", "0.5", "0.01", "--root", roots]
    asked += [*TINY, "train.max_epoch", "3"]
    assert compare(tmp_path, *asked, "--out", "whole").returncode == 0
    asked += ["--jobs", "2", "--out", "cut"]
    process = subprocess.Popen(
        [sys.executable, ROOT / "tools" / "compare.py", *map(str, asked)], cwd=tmp_path
    )
    while not list((tmp_path / "cut").glob("runs/*/*/checkpoints/last.pth")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()  # its processes notice, save their step and leave
    process.wait()
    assert not (tmp_path / "cut" / "comparison.csv").exists()
    assert compare(tmp_path, *asked).returncode == 0
    whole, cut = (
        [row[:7] for row in csv.reader((tmp_path / name / "comparison.csv").open())]
        for name in ("whole", "cut")
    )
    assert cut == whole and len(cut) == 5  # but for the seconds


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "x"], "name either --configs to run"),
        (["--configs", "gone.yaml", "--out", "x"], "gone.yaml cannot be read"),
        (["--runs", "gone", "--out", "x"], "gone has no config.yaml"),
        (["--configs", "gone.yaml", "--seeds", "0", "--out", "x"], "--seeds and --jobs at least 1"),
        (["--configs", BASE, "--vary", "train.lr", "--out", "x"], "--vary train.lr names no value"),
        (["--configs", BASE, "--vary", "train.lrr", "1", "--out", "x"], "did you mean 'train.lr'?"),
        (["--runs", "gone", "--seeds", "2", "--out", "x"], "with --out alone"),
    ],
)
def test_bad_input_is_one_sentence_with_status_2(tmp_path, arguments, said):
    result = compare(tmp_path, *arguments)
    assert result.returncode == 2 and said in result.stderr and "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
