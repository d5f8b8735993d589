"""Serve a page on this machine that finds the visible pictures most like an infrared one.

torchreid-vi demo --weights log/mcja_synthetic --gallery photos/
torchreid-vi demo --weights RUN --gallery photos/ --examples night/

Only this machine can open the page, and nothing that is dropped on it outlives it. Ctrl-C ends it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path

from torchreid_vi.cli import common
from torchreid_vi.demo import served, some_of
from torchreid_vi.extras import require
from torchreid_vi.retrieval import FeatureExtractor, Gallery


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = common.parser(__doc__)
    common.add_weights(parser)
    parser.add_argument("--gallery", required=True, type=Path, help="folder of visible pictures to search in")
    parser.add_argument(
        "--examples", type=Path, help="folder of infrared pictures, some of which the page offers"
    )
    parser.add_argument("--port", type=int, help="(default: from 7860 on, the first that is free)")
    args = parser.parse_args(arguments)

    def work() -> None:
        require("demo", "the page")
        examples = some_of(args.examples) if args.examples else []
        gallery = Gallery(args.gallery, FeatureExtractor(args.weights, args.settings))
        with served(gallery, examples, args.port) as address:
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # each removes what was uploaded
                number = getattr(signal, name, None)
                if number and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                    signal.signal(number, signal.default_int_handler)
            print(f"Serving on {address} until Ctrl-C", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()

    return common.status(work, args)
