"""Changed files of every kind, some hundred of them here; ``fuzz`` reads as many as one has time for."""

import random

import fuzz
import pytest
import targets


def test_some_hundred_changed_files_are_read_or_refused(capfd):
    counts = fuzz.fuzz(400, seed=0)
    for target in targets.TARGETS:
        assert counts[f"{target} tried"] == counts[f"{target} read"] + counts[f"{target} refused"] > 10, (
            f"{fuzz.table(counts)}\n{capfd.readouterr().err}"
        )


@pytest.mark.parametrize("name", targets.TARGETS)
@pytest.mark.filterwarnings("ignore:.* is not the complete RegDB")
def test_sound_files_are_read(name, tmp_path):
    targets.TARGETS[name](tmp_path / name).sound()


def test_changes_are_the_same_for_the_same_seed():
    first, second, third = (targets.mutated(b"sound" * 20, random.Random(seed)) for seed in (1, 1, 2))
    assert first == second != third
    assert len(fuzz.plan(400)) == 400


BAD = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import fuzz, targets
from pathlib import Path

class Bad:
    share = 1

    def __init__(self, folder):
        self.counter = folder.with_suffix(".count")

    def case(self, rng):
        number = len(self.counter.read_bytes()) if self.counter.exists() else 0
        self.counter.write_bytes(b"." * (number + 1))
        [
            lambda: 1 / 0,
            lambda: (self.counter.parent / "secret" / "a.png").read_bytes(),
            lambda: Path("ran").touch(),
            lambda: os._exit(3),
            lambda: time.sleep(60),
            lambda: None,
        ][number]()

targets.TARGETS = {"bad": Bad}
fuzz.work(sys.argv[2], *map(int, sys.argv[3:]))
"""


@pytest.mark.faults
def test_what_goes_wrong_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "WORKER", BAD)
    monkeypatch.setattr(targets, "TARGETS", {"bad": targets.Target})
    with (tmp_path / "log").open("w") as log:
        counts = fuzz.fuzz(6, 0, log)
    assert counts == {"bad tried": 6, "bad refused": 0} | {
        f"bad {outcome}": 1 for outcome in fuzz.OUTCOMES.values() if outcome != "refused"
    }
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()
