"""The doctor of data: what is wrong with a data set, found in one streaming pass over its files."""
