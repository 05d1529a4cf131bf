"""Matching and losses of models that predict a set of objects."""
