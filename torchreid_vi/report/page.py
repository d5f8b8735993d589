"""Templates, tables, pictures and plots of all reports."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image


def render(template: str, **values: Any) -> str:
    """Fill in a template of this package; values in HTML are escaped."""
    environment = Environment(
        loader=PackageLoader("torchreid_vi.report"),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["columns"] = columns
    return environment.get_template(template).render(values)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns are aligned.

    >>> print(columns([["method", "R1"], ["base", "40.00"]]))
    | method | R1    |
    | ------ | ----- |
    | base   | 40.00 |
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [rows[0], ["-" * width for width in widths], *rows[1:]]
    padded = ((cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def data_uri(image: Image.Image) -> str:
    """Return an image as a ``data:`` address, which holds its content."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def svg(figure: Any) -> str:
    """Close a figure of matplotlib and return it as SVG, the same text for the same values."""
    from matplotlib import pyplot as plt

    text = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "torchreid_vi"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]
