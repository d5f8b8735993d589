"""Serves a page on this machine: drop an infrared picture of a person, see the visible pictures most like it.

python tools/demo.py --weights log/mcja_synthetic/checkpoints/last.pth --gallery photos/
python tools/demo.py --weights RUN/checkpoints/last.pth --gallery photos/ --examples night/

Only this machine can open the page, and nothing that is dropped on it outlives it. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", required=True, help="a run's checkpoints/last.pth")
    parser.add_argument(
        "--settings", default="", help="the run's config.yaml, if it is not beside the weights"
    )
    parser.add_argument("--gallery", required=True, type=Path, help="folder of visible pictures to search in")
    parser.add_argument(
        "--examples", type=Path, help="folder of infrared pictures, some of which the page offers"
    )
    parser.add_argument(
        "--port", type=int, help="to listen on (default: from 7860 on, the first that is free)"
    )
    args = parser.parse_args()
    from torchreid_vi import FeatureExtractor, InputError
    from torchreid_vi.demo import served, some_of
    from torchreid_vi.gallery import Gallery

    try:
        examples = some_of(args.examples) if args.examples else []
        gallery = Gallery(args.gallery, FeatureExtractor(args.weights, args.settings), progress=True)
        if gallery.left_out:
            print(gallery.left_out, file=sys.stderr)
        with served(gallery, examples, args.port) as address:
            print(f"=> Serving on {address} until Ctrl-C", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
