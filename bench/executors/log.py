"""What a worker prints: a pipe with a name in its folder, of which only the end is kept, and none of it on disk."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

LINES = 12
"""How much of a worker's log is kept with an outcome that failed."""

BYTES = 8192
"""The same in bytes: a line may have any length."""

PIPE_BYTES = 2**20
"""More than a pipe holds."""


class Log:
    """Reads while the worker runs, so that it may print as much as it likes."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # a writer of its own: it is never at its end
        self._end = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._descriptor)

    def fileno(self) -> int:
        """Returns what can be waited for."""
        return self._descriptor

    def read(self) -> None:
        """Takes what has been printed so far."""
        with suppress(BlockingIOError):
            self._end = (self._end + os.read(self._descriptor, PIPE_BYTES))[-BYTES:]

    def last_lines(self) -> str:
        """Returns the end of what was printed."""
        self.read()
        lines = self._end.decode("utf-8", errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}").strip()
        return "\n".join(lines.splitlines()[-LINES:])
