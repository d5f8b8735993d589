"""Methods side by side: a Markdown table, a CSV file and one page that needs nothing else."""

from __future__ import annotations

import csv
import html
import io
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from torchreid_vi import files
from torchreid_vi.extras import require
from torchreid_vi.report.bootstrap import Difference, paired_bootstrap
from torchreid_vi.report.collect import Method, labels
from torchreid_vi.report.page import page as html_page
from torchreid_vi.report.page import table as html_table
from torchreid_vi.report.picture import draw
from torchreid_vi.report.published import BEST_EPOCH, Published, published

FIGURES = ("R1", "mAP", "mINP")
HEAD = ["method", "protocol", *FIGURES, "runs", "published R1 / mAP", "M parameters", "min", "images/s"]
_DATASET = re.compile(r"_(sysu|regdb|llcm|synthetic|folder)(?=_|$)")


def write_comparison(methods: Sequence[Method], out: Path, title: str = "Methods side by side") -> list[Path]:
    """Writes ``comparison.md``, ``.csv``, ``.svg`` and ``.html``, and returns their paths.

    Args:
        methods: from :func:`~torchreid_vi.report.collect`.
        out: folder, made when it is not there.
        title: of the page.
    """
    require("report", "a comparison")
    out.mkdir(parents=True, exist_ok=True)
    rows = table(methods)
    picture = draw(methods)
    text = {
        "comparison.md": markdown(methods, rows),
        "comparison.csv": _csv([HEAD, *rows]),
        "comparison.svg": picture,
        "comparison.html": page(methods, rows, picture, title),
    }
    for name, content in text.items():
        files.write_text(out / name, content)
    return [out / name for name in text]


# The table


def table(methods: Sequence[Method]) -> list[list[str]]:
    """A row of :data:`HEAD` for each result of each method."""
    rows = []
    for label in labels(methods):
        for method in methods:
            if label not in method.labels:
                continue
            figures = [_spread(method.figures(label, figure)) for figure in FIGURES]
            known = _published(method, label)
            cited = f"{known.r1:.2f} / {known.map:.2f}" if known else ""
            parameters, minutes, rate = method.cost()
            cost = [f"{parameters:.2f}", f"{minutes:.1f}", f"{rate:.0f}"]
            rows.append([method.name, label, *figures, str(len(method.folders)), cited, *cost])
    return rows


def differences(
    methods: Sequence[Method], label: str
) -> dict[tuple[int, int], tuple[Difference, Difference]]:
    """For each two methods with that result: by how much the first is better, in points of R1 and mAP."""
    having = [i for i, method in enumerate(methods) if label in method.labels]
    scores = {i: methods[i].scores(label) for i in having}
    common = sorted(set.intersection(*(set(found) for found in scores.values()))) if having else []
    found = {}
    for i in having:
        for j in having:
            if i != j and common:
                one, other = (100 * np.array([scores[k][query] for query in common]) for k in (i, j))
                r1, mean_ap = (paired_bootstrap(one[:, column], other[:, column]) for column in (0, 1))
                found[i, j] = r1, mean_ap
    return found


def _published(method: Method, label: str) -> Published | None:
    synthetic = method.contents[0]["results"][0]["dataset"].get("synthetic")
    start = "_mmgl" if "mmgl" in method.contents[0].get("weights", "") else ""
    return None if synthetic else published(_DATASET.sub("", method.name) + start, method.dataset, label)


def _sources(methods: Sequence[Method]) -> str:
    """Say where the published metrics beside the results are from; nothing where there are none."""
    found = {known.source for m in methods for label in m.labels if (known := _published(m, label))}
    return f"Published: {'; '.join(sorted(found))}; {BEST_EPOCH}." if found else ""


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def plain_table(methods: Sequence[Method]) -> str:
    """Return the table as text in columns."""
    rows = _without_empty([HEAD, *table(methods)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = rows[0].index("protocol")  # names stand on the left, numbers on the right
    lines = (
        "  ".join(
            cell.ljust(width) if i <= left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(map(str.rstrip, lines))


def _without_empty(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The table without columns that have a head alone."""
    kept = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
    return [[row[i] for i in kept] for row in rows]


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


# Markdown


def _lines(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]]) + "\n"


def matrices(methods: Sequence[Method], label: str) -> list[list[list[str]]]:
    """Row less column in points of Rank-1, then of mAP, with the interval; in bold what leaves zero out."""
    found = differences(methods, label)
    having = sorted({i for pair in found for i in pair})
    tables = []
    for number, figure in enumerate(("R1", "mAP")):
        rows = [[f"{figure}: row less column", *(methods[i].name for i in having)]]
        for i in having:
            cells = [_cell(found[i, j][number]) if i != j else "" for j in having]
            rows.append([methods[i].name, *cells])
        tables.append(rows)
    return tables


def _cell(difference: Difference) -> str:
    text = f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"
    return f"**{text}**" if difference.beyond_noise else text


_MATRIX_NOTE = (
    "Means over runs and trials of the same queries; in brackets the 95% interval of a paired bootstrap over "
    "queries, in bold where it leaves zero out. It speaks of other queries of these people, not of other seeds: "
    "for those see the deviations above."
)


def markdown(methods: Sequence[Method], rows: Sequence[Sequence[str]]) -> str:
    """All tables as Markdown."""
    first = labels(methods)[0]
    tables = "\n".join(map(_lines, matrices(methods, first)))
    return (
        f"{_lines(_without_empty([HEAD, *rows]))}\nMean ± sample deviation over runs, in percent.\n"
        f"{_sources(methods)}\n\n"
        f"## Which differences are larger than noise: {first}\n\n{tables}\n{_MATRIX_NOTE}\n"
    )


# The page


def page(methods: Sequence[Method], rows: Sequence[Sequence[str]], picture: str, title: str) -> str:
    """The page: the same tables and the picture, with everything inside."""
    first = labels(methods)[0]
    parts = [
        html_table(_without_empty([HEAD, *rows]), "results"),
        "<p>Mean ± sample deviation over runs, in percent; min and images/s are of training, on the machine that "
        "ran it.</p>",
        f"<p>{html.escape(note)}</p>" if (note := _sources(methods)) else "",
        f"<h2>Which differences are larger than noise: {html.escape(first)}</h2>",
        *(html_table(rows, "differences") for rows in matrices(methods, first)),
        f"<p>{html.escape(_MATRIX_NOTE)}</p>",
        f"<h2>Figures and curves: {html.escape(first)}</h2>",
        picture[picture.index("<svg") :],
    ]
    return html_page(title, parts)
