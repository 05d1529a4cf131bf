"""Fast implementations of single computations, and the one place that chooses among them (`dispatch.py`)."""
