"""What is about files and processes and nothing else."""
