"""The benchmark, part by part; `bench/run` is the door."""
