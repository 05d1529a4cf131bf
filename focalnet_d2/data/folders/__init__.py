"""From a folder as labelling tools write it to a registered data set: what it holds is found by looking."""
