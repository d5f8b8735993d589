"""Suggest a threshold: torchreid-vi threshold."""

import sys

from torchreid_vi.cli.threshold import main

if __name__ == "__main__":
    sys.exit(main())
