"""Write docs/reference/settings.md from the code: python docs/settings.py.

Names, defaults and descriptions are those of torchreid_vi/config/defaults.py and of the constructors of losses and
methods. A test compares the page with what this script writes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from torchreid_vi import LOSSES, METHODS
from torchreid_vi.config import defaults

PAGE = Path(__file__).parent / "reference" / "settings.md"
INTRODUCTION = """\
<!-- Written by docs/settings.py; change the comments in torchreid_vi/config/defaults.py and run it. -->

# Settings

Every setting with its default. A config file sets them, and so does `KEY VALUE` at the end of a command, as
[training](../train.md#settings) shows.

*Changes* says what another value of a setting changes: what is **trained**, so that an interrupted run with another
value is not resumed; what is trained, and a run may be **resumed** with it; the **evaluation** alone; or
**nothing** but a place or the time it takes.
"""
CHANGES = {
    defaults.Affects.TRAINING: "trained",
    defaults.Affects.RESUMABLE: "resumed",
    defaults.Affects.EVALUATION: "evaluation",
    defaults.Affects.NOTHING: "nothing",
}
ENTRY = re.compile(r'^    "(?P<key>[\w.]+)": .*,  # (?P<text>.+)$', re.MULTILINE)

Row = tuple[str, ...]


def page() -> str:
    """Return the text of the page."""
    parts = [INTRODUCTION]
    described = {entry["key"]: entry["text"] for entry in ENTRY.finditer(inspect.getsource(defaults))}
    for section, keys in groupby(defaults.SETTINGS, lambda key: key.split(".")[0]):
        settings = {key: defaults.SETTINGS[key] for key in keys}
        rows = [
            (f"`{key}`", value(setting.default), CHANGES[setting.affects], described[key])
            for key, setting in settings.items()
        ]
        parts += [f"## {section}\n", table(("setting", "default", "changes", "meaning"), rows)]
    for title, registered in (("Losses", LOSSES), ("Methods", METHODS)):
        parts += [f"## {title}\n", builders(title.lower(), registered)]
    return "\n".join(parts)


def builders(what: str, registered: dict[str, Callable[..., Any]]) -> str:
    """Return the tables of all losses or methods: what each is, and its settings."""
    known = [(f"`{name}`", sentence(builder)) for name, builder in registered.items()]
    settings = [
        (f"`loss.{name}.{argument}`", value(default), arguments(builder).get(argument, ""))
        for name, builder in registered.items()
        for argument, default in defaults.settings_of(builder).items()
    ]
    lines = [
        f"Names for `{'loss.terms' if what == 'losses' else 'loss.name'}`:\n",
        table(("name", "what it is"), known),
        f"Settings of {what}; they change what is trained:\n",
        table(("setting", "default", "meaning"), settings),
    ]
    return "\n".join(lines)


def table(head: Row, rows: Iterable[Row]) -> str:
    """Return a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)


def value(default: Any) -> str:
    """Return a default as YAML would have it."""
    if default in ("", []):
        return "empty"
    text = str(default) if not isinstance(default, list) else f"[{', '.join(map(str, default))}]"
    return f"`{text}`"


def sentence(builder: Callable[..., Any]) -> str:
    """Return the first paragraph of a docstring, without the roles of Sphinx."""
    return plain(inspect.getdoc(builder) or "").split("\n\n")[0].replace("\n", " ")


def arguments(builder: Callable[..., Any]) -> dict[str, str]:
    """Return what a docstring says of each argument."""
    text = plain(inspect.getdoc(builder) or "")
    found = re.search(r"^Args:\n((?:    .*\n?)+)", text, re.MULTILINE)
    entries = re.split(r"^    (?=\w[\w, ]*:)", found[1], flags=re.MULTILINE)[1:] if found else []
    named = (entry.split(":", 1) for entry in entries)
    return {name: " ".join(said.split()) for name, said in named}


def plain(text: str) -> str:
    """Replace the roles and literals of reStructuredText by those of Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
