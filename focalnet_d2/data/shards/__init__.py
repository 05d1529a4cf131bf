"""Images in shards: tar archives that are read in place, as if they were unpacked in the folder in which they lie."""
