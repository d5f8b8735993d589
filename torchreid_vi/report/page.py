"""What all reports are made of: a page that needs nothing else, tables, and plots as SVG."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from PIL import Image


def page(title: str, parts: Sequence[str]) -> str:
    """An HTML page with its style inside."""
    style = files("torchreid_vi.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head>\n'
        f"<body><main><h1>{html.escape(title)}</h1>{''.join(parts)}</main></body></html>\n"
    )


def table(rows: Sequence[Sequence[str]], kind: str) -> str:
    """A table of texts whose first row is the head; what stands between ``**`` is bold."""

    def cell(tag: str, text: str) -> str:
        bold = text.startswith("**")
        inner = html.escape(text.strip("*"))
        return f"<{tag}>{f'<b>{inner}</b>' if bold else inner}</{tag}>"

    head = "".join(cell("th", text) for text in rows[0])
    body = "".join(f"<tr>{''.join(cell('td', text) for text in row)}</tr>" for row in rows[1:])
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="{kind}">{inner}</table></div>'


def data_uri(image: Image.Image) -> str:
    """An image as an address that holds all of it."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def svg(figure: Any) -> str:
    """A figure of matplotlib, which is closed, as a file's content: the same from the same numbers."""
    from matplotlib import pyplot as plt

    text = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "torchreid_vi"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    return text.getvalue()
