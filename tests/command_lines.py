"""Tools called as people call them, but in the tests' own process, which has imported everything already."""

import contextlib
import io
import os
import runpy
import sys
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

TOOLS = Path(__file__).parents[1] / "tools"


def call(tool, *arguments, cwd=".", **environment):
    """Runs a tool of tools/, such as ``train.py``; returns its status and what it wrote on either stream."""
    words = [str(TOOLS / tool), *map(str, arguments)]
    out, error = io.StringIO(), io.StringIO()
    before = os.getcwd()
    with (
        patch.object(sys, "argv", words),
        patch.object(sys, "path", [str(TOOLS), *sys.path]),
        patch.dict(os.environ, {name: str(value) for name, value in environment.items()}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        os.chdir(cwd)
        try:
            runpy.run_path(words[0], run_name="__main__")
            status = 0
        except SystemExit as left:
            status = left.code or 0
        finally:
            os.chdir(before)
    return CompletedProcess(words, status, out.getvalue(), error.getvalue())
