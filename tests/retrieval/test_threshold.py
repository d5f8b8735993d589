"""Precision and recall over thresholds equal counts in plain loops."""

import re

import numpy as np
import pytest
from command_lines import call

from torchreid_vi import InputError
from torchreid_vi.retrieval.threshold import Curve


def counted(similarity, same, threshold):
    """Precision, recall and the number of pairs that are accepted."""
    accepted = hits = people = 0
    for row, others in zip(similarity, same, strict=True):
        for value, one in zip(row, others, strict=True):
            people += one
            if value >= threshold:
                accepted += 1
                hits += one
    return (hits / accepted if accepted else 1.0), hits / people, accepted


@pytest.fixture(params=[0, 1, 2])
def drawn(request):
    """Similarities, some of which are equal, that tell people apart a little."""
    rng = np.random.default_rng(request.param)
    same = rng.random((12, 15)) < 0.2
    return np.round(rng.normal(size=same.shape) + 1.5 * same, 1).astype(np.float32), same


def test_a_point_is_what_loops_count(drawn):
    for threshold in (-5, *np.unique(drawn[0]), 0.05, 5):
        assert Curve(*drawn).at(threshold)[1:] == pytest.approx(counted(*drawn, threshold))


@pytest.mark.parametrize("precision", [None, 0.3, 0.5])
def test_the_best_is_the_best_of_all_that_loops_try(drawn, precision):
    best = Curve(*drawn).best(precision)
    tried = {float(t): counted(*drawn, t) for t in np.unique(drawn[0])}
    if precision is None:
        f1 = {t: 2 * p * r / (p + r) if p + r else 0 for t, (p, r, _) in tried.items()}
        assert f1[best.threshold] == pytest.approx(max(f1.values()))
    else:
        assert best.precision >= precision
        assert best.recall == max(r for p, r, _ in tried.values() if p >= precision)
    assert best[1:] == pytest.approx(tried[best.threshold])


def test_a_precision_that_nothing_reaches_is_one_sentence():
    with pytest.raises(InputError, match="no threshold reaches a precision of 90%: 67% is the most"):
        Curve(np.array([3.0, 2.0, 1.0]), np.array([False, True, True])).best(0.9)


def test_the_tool_suggests_one_for_a_run(trained, roots):
    command = ["threshold.py", "regdb", "--root", roots, "--weights", trained()]
    result = call(*command)
    assert result.returncode == 0, result.stderr
    *rows, suggested, pairs = result.stdout.splitlines()
    assert re.fullmatch(r"suggested: \S+, precision \S+%, recall \S+%;", suggested)
    assert pairs == "highest F1 of 324 pairs, of which 54 show one person"
    assert rows[1].split()[2] == "100.0%" and len(rows) > 3
    refused = call(*command, "--precision", "0")
    assert refused.returncode == 2 and "--precision is 0: it must be above 0" in refused.stderr
