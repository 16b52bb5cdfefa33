"""Benchmarks: ratios measured in one run on one machine, printed by `make bench`."""
