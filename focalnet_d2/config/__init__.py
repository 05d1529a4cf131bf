"""Recipes: finding, loading, YAML, strict overrides; and what was called otherwise in 0.1.0."""
