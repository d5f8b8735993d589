"""Serve a page to search with: torchreid-vi demo."""

import sys

from torchreid_vi.cli.demo import main

if __name__ == "__main__":
    sys.exit(main())
