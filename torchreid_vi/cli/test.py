"""Evaluates weights: train with the setting test.evaluate.

torchreid-vi test --config-file mcja_sysu --root /data model.load_weights W.pth
"""

from __future__ import annotations

from torchreid_vi.cli import train


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    return train.main(arguments, evaluate=True)
