"""Benchmarks: bgjob beside a bare SQLite queue and beside other job queues. `make bench` runs them."""
