"""The version, for the front door and for what may not import it."""

__version__ = "0.1.0"
