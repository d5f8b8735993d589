"""The parts of costs.py, a file each, and what the benchmarks share."""
