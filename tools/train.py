"""Train and evaluate: torchreid-vi train."""

import sys

from torchreid_vi.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
