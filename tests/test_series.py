"""Series keep finished runs, continue interrupted ones, and give the mean over all of them."""

import re
import shutil

import pytest
from command_lines import TINY

from torchreid_vi import InputError, load_config, series
from torchreid_vi.engine import VIEngine


@pytest.fixture
def settings(roots, tmp_path):
    def make(**changes):
        cfg = TINY | {"data.root": str(roots), "data.save_dir": str(tmp_path / "run")}
        return load_config(overrides=cfg | {key.replace("__", "."): value for key, value in changes.items()})

    return make


def test_numbers():
    assert series.numbers("1-4") == [1, 2, 3, 4] and series.numbers("1,4-5") == [1, 4, 5]
    for text in ("", "a", "1-", "1,1", "3-1"):
        with pytest.raises(InputError, match="write them as in 1-10"):
            series.numbers(text)


def test_every_member_has_a_folder_and_what_it_differs_in(settings):
    cfg = settings(data__split_id=4, train__seed=9)
    runs = series.members(cfg, [1, 10], [1, 2])
    assert list(runs) == ["trial1-seed1", "trial1-seed2", "trial10-seed1", "trial10-seed2"]
    assert [(one.data.split_id, one.train.seed) for one in runs.values()] == [(0, 1), (0, 2), (9, 1), (9, 2)]
    assert all(one.data.save_dir == f"{cfg.data.save_dir}/{name}" for name, one in runs.items())
    assert [(c.data.split_id, c.train.seed) for c in series.members(cfg, seeds=[3]).values()] == [(4, 3)]
    with pytest.raises(InputError, match="count from 1"):
        series.members(cfg, [0])


def die_after(monkeypatch, epochs):
    original = VIEngine.train

    def train(self, *args, **kwargs):
        if self.epoch == epochs:
            raise KeyboardInterrupt
        original(self, *args, **kwargs)

    monkeypatch.setattr(VIEngine, "train", train)


def test_a_run_that_was_cut_off_goes_on_and_one_that_is_finished_stays(settings, tmp_path, monkeypatch):
    cfg, folder = settings(), tmp_path / "run"
    with monkeypatch.context() as patch:
        die_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            series.complete(cfg)
    content = series.complete(cfg)
    assert "Resumed after epoch 1" in (folder / "train.log").read_text() and content["epoch"] == 2
    before = (folder / "results.json").stat().st_mtime_ns
    assert series.complete(cfg) == content and (folder / "results.json").stat().st_mtime_ns == before
    assert not (tmp_path / "run-2").exists()


def test_a_folder_with_another_run_is_refused_and_left(settings, tmp_path):
    series.complete(settings(train__max_epoch=1))
    said = re.escape("holds a run with train.max_epoch 1, not 2: choose another data.save_dir")
    with pytest.raises(InputError, match=said):
        series.complete(settings())
    assert (tmp_path / "run" / "results.json").is_file()
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("chapter")
    with pytest.raises(InputError, match="something else than a run"):
        series.complete(settings())
    assert (tmp_path / "run" / "thesis.tex").is_file()


def test_mean_and_deviation_are_over_runs_by_hand():
    def content(*values):
        return {
            "results": [{"label": "V", "mean": {"R1": values[0]}}, {"label": "T", "mean": {"R1": values[1]}}]
        }

    first, second = series.summarise([content(10.0, 1.0), content(20.0, 2.0), content(60.0, 3.0)])
    assert first["each"] == {"R1": [10.0, 20.0, 60.0]} and second["name"] == "T"
    assert first["mean"]["R1"] == pytest.approx(30) and first["std"]["R1"] == pytest.approx(700**0.5)
    text = series.format_series([first, second])
    assert [line.split() for line in text.splitlines()] == [
        ["R1", "runs"],
        ["V", "30.00", "3"],
        ["±", "26.46"],
        ["T", "2.00", "3"],
        ["±", "1.00"],
    ]
    assert series.summarise([content(1.0, 2.0)])[0]["std"] == {"R1": 0.0}
    (row,) = series.summarise([{"results": [{"pretext": {"stripe_accuracy": v}}]} for v in (90.0, 92.0)])
    assert row["name"] == "pretext" and row["mean"] == {"stripe_accuracy": 91.0}
    results = [{"label": "all", "dataset": {"name": name}, "mean": {"R1": 1.0}} for name in ("regdb", "llcm")]
    assert [row["name"] for row in series.summarise([{"results": results}])] == ["regdb: all", "llcm: all"]
