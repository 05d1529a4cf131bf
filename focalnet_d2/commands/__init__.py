"""Command lines: they read arguments, call the library and print."""
