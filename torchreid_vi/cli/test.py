"""Evaluate weights, by the settings of their run unless others are named.

torchreid-vi test --weights log/mcja_sysu
torchreid-vi test --weights W.pth --config-file mcja_sysu --root /data
"""

from __future__ import annotations

from torchreid_vi.cli import train


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    return train.main(arguments, evaluate=True)
