"""Diagrams as SVG, on a white ground."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

INK, MUTED, LINE = "#1f2430", "#5b6472", "#9aa3af"
VISIBLE, INFRARED, ACCENT, PLAIN = "#fde2c0", "#d5dbe6", "#cfe6d4", "#f2f4f7"
RED = "#b3261e"


class Svg:
    """A diagram; coordinates are pixels from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height, self.parts = (
            width,
            height,
            [f'<rect {_at(0, 0, width, height)} fill="#fff"/>'],
        )

    def text(
        self, x: float, y: float, text: str, size: int = 14, colour: str = INK, anchor: str = "middle"
    ) -> None:
        style = f'font-size="{size}" fill="{colour}" text-anchor="{anchor}"'
        self.parts.append(f'<text x="{x:g}" y="{y:g}" {style}>{escape(text)}</text>')

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        lines: Sequence[str] = (),
        size: int = 14,
    ) -> None:
        """Draw a box with lines of text in its middle, the first one the largest."""
        self.parts.append(f'<rect {_at(x, y, width, height)} rx="5" fill="{fill}" stroke="{LINE}"/>')
        top = y + height / 2 - 9 * (len(lines) - 1) + 5
        for i, line in enumerate(lines):
            self.text(x + width / 2, top + 18 * i, line, size if i == 0 else size - 2, MUTED if i else INK)

    def cell(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        self.parts.append(f'<rect {_at(x, y, width, height)} fill="{fill}" stroke="#fff"/>')

    def line(
        self, points: Sequence[tuple[float, float]], colour: str = INK, arrow: bool = True, dash: str = ""
    ) -> None:
        path = " ".join(f"{x:.4g},{y:.4g}" for x, y in points)
        style = f' stroke-dasharray="{dash}"' if dash else ""
        end = ' marker-end="url(#tip)"' if arrow else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{style}{end}/>'
        )

    def save(self, path: Path) -> None:
        """Write the diagram as a file."""
        tip = '<path d="M0,0 L8,4 L0,8 z" fill="#1f2430"/>'
        marker = f'<marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">{tip}</marker>'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="Helvetica, Arial, sans-serif">'
        )
        path.write_text("\n".join([head, f"<defs>{marker}</defs>", *self.parts, "</svg>", ""]))


def _at(x: float, y: float, width: float, height: float) -> str:
    return f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
