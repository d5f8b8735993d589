"""Render synthetic people: torchreid-vi synthesize."""

import sys

from torchreid_vi.cli.synthesize import main

if __name__ == "__main__":
    sys.exit(main())
