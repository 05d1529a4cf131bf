"""Types of arguments that several command lines share."""

import argparse
import os
from pathlib import Path


def at_least_one(text: str) -> int:
    """A number from 1 on; the message for others is argparse's to print."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("It must be at least 1.")
    return number


def file_to_write(text: str) -> Path:
    """A file that can be written, whose folder may have to be made; looked at before any work is done for it."""
    path = Path(text)
    if os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"{path} is a folder: name a file.")
    folder = next(folder for folder in path.absolute().parents if os.path.exists(folder))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written: {folder} is no folder that can be written to.")
    return path
