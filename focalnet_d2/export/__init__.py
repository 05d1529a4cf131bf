"""Models as files that other runtimes run, and a runtime of numpy and Pillow for what they return."""
