"""What can go wrong for a user, each kind with its exit code."""

from __future__ import annotations

from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    WORSE = 1
    BAD_INPUT = 2
    INCOMPLETE = 3
    NOT_COMPARABLE = 4
    UNDECIDED = 5
    INTERRUPTED = 130


class BenchError(Exception):
    """Base of the errors that reach a user as one line; its text names the thing, what is allowed, what to do."""

    exit_code: ClassVar[Exit] = Exit.BAD_INPUT


class InputError(BenchError):
    """The question was wrong: a grid, axis, value, layer, run or file that cannot be used."""


class StoreError(BenchError):
    """The results store cannot be opened, read or written."""


class WorkerError(BenchError):
    """No worker process can be started at all."""

    exit_code = Exit.INCOMPLETE


class NotComparableError(BenchError):
    """Two runs were made under conditions that forbid a verdict."""

    exit_code = Exit.NOT_COMPARABLE


def unknown(kind: str, word: str, allowed: Iterable[str]) -> str:
    """Returns one clause for a word that is not in the list: the word, the nearest spelling, what is allowed."""
    words = list(allowed)
    near = get_close_matches(word, words, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown {kind} '{word}'{hint} (allowed: {', '.join(words)})"
