"""Benchmarks: ratios measured in one run on one machine. `make bench` prints the table; tests are
never timed."""
