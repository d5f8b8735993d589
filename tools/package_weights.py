"""Write weights to share: torchreid-vi package."""

import sys

from torchreid_vi.cli.package import main

if __name__ == "__main__":
    sys.exit(main())
