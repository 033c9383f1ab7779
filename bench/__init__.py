"""The harness: grid -> plan -> workers -> store -> table -> compare -> report -> command line."""

__version__ = "0.1.0"
