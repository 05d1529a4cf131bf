"""Recipes: loading, strict overrides, and the bridge to Detectron2's yacs configs."""
