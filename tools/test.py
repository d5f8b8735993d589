"""Evaluates weights: tools/train.py with the setting test.evaluate.

python tools/test.py --config-file configs/mcja_sysu.yaml --root /data model.load_weights W.pth
"""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(evaluate=True))
