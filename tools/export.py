"""Export a trained model: torchreid-vi export."""

import sys

from torchreid_vi.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
