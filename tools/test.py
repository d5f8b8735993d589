"""Evaluate weights: torchreid-vi test."""

import sys

from torchreid_vi.cli.test import main

if __name__ == "__main__":
    sys.exit(main())
