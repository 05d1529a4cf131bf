"""Training: loop, hooks, parameter groups, checkpoints of a run, processes."""
