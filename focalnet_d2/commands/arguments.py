"""Types of arguments that several command lines share."""

import argparse


def at_least_one(text: str) -> int:
    """A number from 1 on; the message for others is argparse's to print."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("It must be at least 1.")
    return number
