"""Damaged files of every kind are read, or refused with a sentence."""

import random
import warnings

import pytest
import targets

from torchreid_vi import InputError

CASES = 150  # of each kind


@pytest.mark.parametrize("kind", targets.TARGETS)
def test_damaged_files_are_read_or_refused(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    target = kind(tmp_path / "folder")
    target.read()
    refused = 0
    for case in range(CASES):
        target.damage(random.Random(f"{kind.__name__} {case}"))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.read()
        except InputError as error:
            refused += 1
            assert str(error).isprintable() and len(str(error)) < 2000, case
        except Exception as error:
            raise AssertionError(f"case {case}") from error
    assert (refused > CASES / 4) == (kind is not targets.Galleries)  # whose features are made again
    assert not (tmp_path / "ran").exists()
