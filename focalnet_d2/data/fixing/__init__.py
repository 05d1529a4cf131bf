"""Mended copies of data sets: `check-data --fix`. Nothing is ever changed in place."""
