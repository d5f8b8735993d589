"""Find a person in a folder: torchreid-vi search."""

import sys

from torchreid_vi.cli.search import main

if __name__ == "__main__":
    sys.exit(main())
