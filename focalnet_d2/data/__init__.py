"""Data sets, reading, augmentation and loaders."""
