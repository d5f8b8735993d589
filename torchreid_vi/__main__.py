"""``python -m torchreid_vi``."""

import sys

from torchreid_vi.cli import main

if __name__ == "__main__":
    sys.exit(main())
