"""Compare methods: a Markdown table, a CSV file and a page that needs nothing else."""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from torchreid_vi import files
from torchreid_vi.report import plots
from torchreid_vi.report.bootstrap import Difference, paired_bootstrap
from torchreid_vi.report.collect import Method, labels
from torchreid_vi.report.page import columns, render
from torchreid_vi.report.published import BEST_EPOCH, Published, published

METRICS = ("R1", "mAP", "mINP")
HEAD = ["method", "protocol", *METRICS, "runs", "published R1 / mAP", "M parameters", "min", "images/s"]
_DATASET = re.compile(r"_(sysu|regdb|llcm|synthetic|folder)(?=_|$)")


def write_comparison(methods: Sequence[Method], out: Path) -> list[Path]:
    """Write ``comparison.md``, ``.csv``, ``.svg`` and ``.html``, and return their paths.

    Args:
        methods: Methods from :func:`~torchreid_vi.report.collect`.
        out: Output folder, made when it does not exist.
    """
    out.mkdir(parents=True, exist_ok=True)
    label, picture, rows, text = labels(methods)[0], plots.comparison(methods), table(methods), io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    known = [_published(method, label) for method in methods for label in method.labels]
    sources = sorted({each.source for each in known if each})
    filled = [column for column in zip(*rows, strict=True) if any(column[1:])]
    values = {
        "title": "Methods side by side",
        "label": label,
        "results": list(zip(*filled, strict=True)),
        "sources": f"Published: {'; '.join(sources)}; {BEST_EPOCH}." if sources else "",
        "matrices": matrices(methods, label),
        "picture": picture,
    }
    written = {
        "comparison.md": render("comparison.md", **values),
        "comparison.csv": text.getvalue(),
        "comparison.svg": picture,
        "comparison.html": render("comparison.html", **values),
    }
    for name, content in written.items():
        files.write_text(out / name, content)
    return [out / name for name in written]


def plain_table(methods: Sequence[Method]) -> str:
    """Return the columns of ``comparison.md``'s table that a line of a terminal has room for."""
    shown = [HEAD.index(name) for name in ("method", "protocol", "R1", "mAP", "runs")]
    return columns([[row[i] for i in shown] for row in table(methods)])


def table(methods: Sequence[Method]) -> list[list[str]]:
    """Return :data:`HEAD` and a row for each result of each method."""
    rows = [HEAD]
    for label in labels(methods):
        for method in methods:
            if label not in method.labels:
                continue
            metrics = [_spread(method.values(label, metric)) for metric in METRICS]
            known = _published(method, label)
            cited = f"{known.r1:.2f} / {known.map:.2f}" if known else ""
            parameters, minutes, rate = method.cost()
            cost = [f"{parameters:.2f}", f"{minutes:.1f}", f"{rate:.0f}"]
            rows.append([method.name, label, *metrics, str(len(method.folders)), cited, *cost])
    return rows


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _published(method: Method, label: str) -> Published | None:
    if method.contents[0]["results"][0]["dataset"].get("synthetic"):
        return None
    start = "_mmgl" if "mmgl" in method.contents[0].get("weights", "") else ""
    return published(_DATASET.sub("", method.name) + start, method.dataset, label)


def differences(methods: Sequence[Method], label: str) -> dict[tuple[int, int], list[Difference]]:
    """Return for each two methods with a result by how much the first is better, in points of R1 and mAP."""
    scores = {i: method.scores(label) for i, method in enumerate(methods) if label in method.labels}
    common = sorted(set.intersection(*map(set, scores.values()))) if scores else []
    each = {i: 100 * np.array([found[query] for query in common]).T for i, found in scores.items()}
    return {
        (i, j): [paired_bootstrap(one, other) for one, other in zip(each[i], each[j], strict=True)]
        for i, j in permutations(each, 2)
        if common
    }


def matrices(methods: Sequence[Method], label: str) -> list[list[list[str]]]:
    """Return tables of the differences in Rank-1 and mAP with intervals; bold where an interval excludes zero."""
    found = differences(methods, label)
    having = sorted({i for pair in found for i in pair})
    tables = []
    for number, metric in enumerate(("R1", "mAP")):
        tables.append([[f"{metric}: row less column", *(methods[i].name for i in having)]])
        for i in having:
            cells = [_cell(found[i, j][number]) if i != j else "" for j in having]
            tables[-1].append([methods[i].name, *cells])
    return tables


def _cell(difference: Difference) -> str:
    text = f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"
    return f"**{text}**" if difference.beyond_noise else text
