"""The command ``torchreid-vi``, and ``python -m torchreid_vi``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version

from torchreid_vi import console
from torchreid_vi.cli import common
from torchreid_vi.errors import unknown_name

#: Summaries of the commands by name; each command is the module of that name.
COMMANDS = {
    "train": "train and evaluate, or go on where a run was interrupted",
    "test": "evaluate weights",
    "compare": "run methods or settings side by side, and report on them",
    "report": "show one run on one page",
    "search": "find the person of a picture in a folder",
    "index": "build, extend and search an index of a large gallery",
    "export": "write a trained model as ONNX or a program of torch.export",
    "demo": "serve a page on this machine to search with",
    "threshold": "suggest the similarity above which two images show one person",
    "check-data": "check a dataset before days are spent on it",
    "synthesize": "render synthetic people in the layout of a dataset",
    "package": "write the weights of a run as a folder to share",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the first argument names; return the exit status."""
    name, *others = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print("usage: torchreid-vi COMMAND …; torchreid-vi COMMAND --help says more\n")
        print("\n".join(f"  {command:<11} {what}" for command, what in COMMANDS.items()))
        return 0
    if name == "--version":
        print(f"torchreid_vi {version('torchreid_vi')}")
        return 0
    if name not in COMMANDS:
        console.complain(str(unknown_name("command", name, COMMANDS)))
        return 2
    common.program = f"torchreid-vi {name}"
    status: int = import_module(f"torchreid_vi.cli.{name.replace('-', '_')}").main(others)
    return status
