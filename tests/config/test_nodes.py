"""Walks through the tree of a recipe."""

from focalnet_d2.config.nodes import leaves


def test_settings_are_flat_by_dotted_keys():
    assert dict(leaves({"a": {"b": [1, {"c": None}], "d": {}}})) == {"a.b.0": 1, "a.b.1.c": None, "a.d": {}}
