"""Dataset dicts of big annotation files as columns of numbers: made in little memory, cached, shared by processes."""
