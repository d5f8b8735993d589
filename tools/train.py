"""Trains and evaluates: the command line of torchreid's scripts/main.py.

python tools/train.py --config-file configs/mcja_synthetic.yaml
python tools/train.py --config-file configs/mcja_sysu.yaml --root /data train.max_epoch 60
"""

from __future__ import annotations

import argparse
import sys
from typing import Any


def parse(arguments: list[str] | None = None) -> tuple[str, dict[str, Any], list[str]]:
    """The config file, the settings that options name, and the KEY VALUE pairs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", default="", help="YAML file of settings, as in configs/")
    parser.add_argument("--root", help="folder that holds the datasets' folders (data.root)")
    parser.add_argument("-s", "--sources", nargs="+", help="training datasets (data.sources)")
    parser.add_argument("-t", "--targets", nargs="+", help="test datasets (data.targets)")
    parser.add_argument("--transforms", nargs="+", help="training transforms (data.transforms)")
    parser.add_argument(
        "options", nargs="*", metavar="KEY VALUE", help="any setting of torchreid_vi/config.py"
    )
    args = parser.parse_intermixed_args(arguments)
    overrides, options = {}, list(args.options)
    for name in ("root", "sources", "targets", "transforms"):
        value = getattr(args, name)
        if isinstance(value, list):
            value, pairs = _split(value)
            options += pairs
        if value:
            overrides[f"data.{name}"] = value
    return args.config_file, overrides, options


def _split(values: list[str]) -> tuple[list[str], list[str]]:
    """Names, and the KEY VALUE pairs that follow them: a key has a dot, which no name has."""
    end = next((i for i, value in enumerate(values) if "." in value), len(values))
    return values[:end], values[end:]


def main(evaluate: bool = False) -> int:
    """Runs the command line; returns the exit status."""
    file, overrides, options = parse()
    from torchreid_vi import InputError, load_config, run

    try:
        run(load_config(file, overrides | ({"test.evaluate": True} if evaluate else {}), options))
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "interrupted: if the run has a checkpoints/last.pth, model.resume continues from it",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
