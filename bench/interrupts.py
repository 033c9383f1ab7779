"""Signals that ask the program to stop: Ctrl-C, a polite kill, a terminal that has gone."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def first_only() -> Iterator[None]:
    """Makes the first of the signals a KeyboardInterrupt and ignores further ones, so that what it starts is finished.

    One that is ignored already, as in a background job or under nohup, stays so.
    """
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    with _handled_by(stop):
        yield


@contextmanager
def held() -> Iterator[None]:
    """Lets no signal interrupt the block: one that comes meanwhile acts at its end."""
    came: list[int] = []
    try:
        with _handled_by(lambda number, _frame: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Sets the handler of every signal that is not ignored; does nothing outside the main thread, which gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, known in before.items() if known not in (signal.SIG_IGN, None)]  # None: not from Python
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
