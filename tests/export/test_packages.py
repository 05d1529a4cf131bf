"""Packages that only export needs."""

import logging

import pytest

from focalnet_d2.export.packages import optional, without_hint


def test_advice_that_does_not_apply_is_dropped_and_nothing_else(caplog):
    with without_hint("Please consider"):
        logging.warning("Please consider to %s", "rest")
        logging.warning("It is late")
    logging.warning("Please consider that this is another one")
    assert [record.getMessage()[:17] for record in caplog.records] == ["It is late", "Please consider t"]
    assert not logging.getLogger().filters


def test_a_package_that_is_missing_is_named_with_its_command():
    with pytest.raises(ImportError, match=r"needs none_such, .* pip install 'focalnet-d2\[export\]'"):
        optional("none_such.part")
