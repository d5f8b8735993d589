"""Check a dataset: torchreid-vi check-data."""

import sys

from torchreid_vi.cli.check_data import main

if __name__ == "__main__":
    sys.exit(main())
