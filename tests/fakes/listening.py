"""What a program started by a test must hear, whoever has started the tests."""

import signal


def listen() -> None:
    """Ends what a shell does for the background (Ctrl-C is ignored) and nohup for everything (SIGHUP is)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
