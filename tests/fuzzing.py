"""How many mutated files the fuzz tests try."""

import os


def fuzz_count(files: int) -> int:
    """`files`, times the environment variable `FUZZ_SCALE`, which is 1 unless somebody looks for rare faults."""
    return max(1, round(files * float(os.environ.get("FUZZ_SCALE", "1"))))
