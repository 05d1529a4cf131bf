"""Whether runs of a recipe are what they promise: repeatable, resumable, and scored alike on every way."""
