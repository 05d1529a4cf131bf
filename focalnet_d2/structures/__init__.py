"""Data structures that several floors share."""
