"""The parts of the benchmark; run it with `bench/run`."""
