"""Compare methods: torchreid-vi compare."""

import sys

from torchreid_vi.cli.compare import main

if __name__ == "__main__":
    sys.exit(main())
