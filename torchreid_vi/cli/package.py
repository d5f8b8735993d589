"""Write the last weights of a run as a folder to share: weights, settings, a card and checksums.

torchreid-vi package log/mcja_synthetic --out shared
torchreid-vi package log/mcja_sysu --out shared --licence "CC BY-NC 4.0"

Commands that read weights take the folder, or hf://OWNER/NAME once it is on the Hub.
"""

from __future__ import annotations

from torchreid_vi.cli import common
from torchreid_vi.sharing import CARD, write_package


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("run", help="folder of a training")
    parser.add_argument("--out", required=True, help="folder to write, new or empty")
    parser.add_argument("--licence", default="", help="of the weights, such as mit; the card says it")
    args = parser.parse_args(arguments)

    def work() -> None:
        about = write_package(args.run, args.out, args.licence)
        for name, file in about["files"].items():
            print(f"{name:<18} {file['size'] / 2**20:8.2f} MiB  {file['sha256']}")
        common.written(args.out, f"read its {CARD}, above all Licence, before you share it")

    return common.status(work, args)
