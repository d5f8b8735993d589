"""Show one run on one page: torchreid-vi report."""

import sys

from torchreid_vi.cli.report import main

if __name__ == "__main__":
    sys.exit(main())
