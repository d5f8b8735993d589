"""Parts of the benchmarks: measurements, speeds, stopwatch."""
