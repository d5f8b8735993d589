"""The parts of tools/bench.py, one file each."""
