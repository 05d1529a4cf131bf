"""Training and evaluation of a recipe: loops, hooks, parameter groups, checkpoints of a run, processes."""
