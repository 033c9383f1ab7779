"""Lets `python -m bench` be the command line."""

from bench.cli import main

if __name__ == "__main__":
    main()
