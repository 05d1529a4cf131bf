"""The network of the paper, and the arguments of its published sizes."""
