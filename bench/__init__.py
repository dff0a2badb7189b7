"""Benchmarks: ratios in one run, on a shared machine."""
