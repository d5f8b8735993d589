"""Build, extend and search an index: torchreid-vi index."""

import sys

from torchreid_vi.cli.index import main

if __name__ == "__main__":
    sys.exit(main())
