"""Annotation files, read once and by one set of rules for training, scoring and preparation.

What cannot be understood is an error that names the file, the entry and the remedy; what is harmless is counted, and
said in one line.
"""
