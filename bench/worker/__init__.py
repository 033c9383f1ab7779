"""The child process that measures; the only place that imports torch."""
