"""How Sphinx builds these pages: python -m sphinx -W --keep-going -b html docs docs/_build."""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any

import ziamath
from docutils import nodes
from sphinx import addnodes

project = "torchreid_vi"
author = "the authors of torchreid_vi"
version = release = version_of("torchreid_vi")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
highlight_language = "text"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_default_options = {"show-inheritance": True}
autodoc_inherit_docstrings = False  # PyTorch's say nothing about our modules
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_use_ivar = True
nitpicky = True  # what a docstring names in a role is on these pages
nitpick_ignore_regex = [("py:class", r"(?!torchreid_vi\.).*|.*\.T")]  # but for the types of signatures

html_theme = "furo"
html_title = "torchreid_vi"
html_math_renderer = "drawn"  # in the page itself, so that reading needs no script, font or network
html_show_sphinx = False


ziamath.config.svg2 = False  # each drawing whole, none refers to another's glyphs


def formula(node: nodes.Node, inline: bool) -> ziamath.Latex:
    """A formula in the colour of the text around it; what it says in LaTeX is its title."""
    latex = " ".join(node.astext().split())
    return ziamath.Latex(latex, size=17, inline=inline, color="currentColor", title=latex)


def inline_formula(translator: Any, node: nodes.math) -> None:
    """Draws a formula of a sentence, on its line."""
    drawn = formula(node, inline=True)
    style = f"vertical-align: {drawn.getyofst():.2f}px"
    translator.body.append(f'<span style="display: inline-block; {style}">{drawn.svg()}</span>')
    raise nodes.SkipNode


def displayed_formula(translator: Any, node: nodes.math_block) -> None:
    """Draws a formula of its own line."""
    style = "margin: 1em 0; overflow-x: auto; text-align: center"
    translator.body.append(f'<div style="{style}">{formula(node, inline=False).svg()}</div>')
    raise nodes.SkipNode


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Shows what calling an object does; leaves the fields of named tuples to their class, which has them."""
    if name == "__call__" and obj.__doc__:
        return False
    return True if type(obj).__name__ == "_tuplegetter" else None


def hide_value(app: Any, domain: str, kind: str, content: Any) -> None:
    """Leaves out what a table of names holds, which is a page of functions' addresses."""
    if kind == "data":
        for node in list(content.parent.findall(addnodes.desc_annotation)):
            if node.astext().strip().startswith("="):
                node.parent.remove(node)


def setup(app: Any) -> None:
    """Adds the renderer of formulas."""
    app.add_html_math_renderer("drawn", (inline_formula, None), (displayed_formula, None))
    app.connect("autodoc-skip-member", skip)
    app.connect("object-description-transform", hide_value)
