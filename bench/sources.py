"""Where a side of a duel comes from: a git revision, a folder, another environment, or what is installed here."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import InputError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALLED = "installed"

FORMS = (
    "a git revision (main, HEAD~1, v1.2, abc1234), a folder (., ../other), an environment (venv:PATH) or the word"
    f" {INSTALLED}"
)

GIT_SECONDS = 120.0
"""Longest wait for git; a large repository takes a while to be laid out."""


@dataclass(frozen=True)
class Source:
    """A side as a user names it; `commit` belongs to a revision, `folder` to a folder, `python` to an environment."""

    word: str
    commit: str | None = None
    folder: Path | None = None
    python: str | None = None

    @property
    def name(self) -> str:
        """How people recognise it."""
        return (
            f"{self.word} ({self.commit[:7]})" if self.commit and not self.commit.startswith(self.word) else self.word
        )


@dataclass(frozen=True)
class Place:
    """Where a source's code lies while it is measured, and which folders of it Python searches; none for installed."""

    top: Path | None = None
    first: tuple[str, ...] = ()
    python: str = sys.executable


def parse(word: str, option: str, here: Path) -> Source:
    """Returns the source that a word names, seen from a folder.

    Raises:
        InputError: it names none.
    """
    if word == INSTALLED:
        return Source(word)
    if word.startswith("venv:"):
        return Source(word, python=_python(Path(word.removeprefix("venv:")), f"{option} {word}"))
    if word and not word.startswith("-") and (commit := _commit(word, here)):
        return Source(word, commit=commit)
    folder = here / word
    if word and folder.is_dir():
        if (folder / "pyvenv.cfg").is_file():
            raise InputError(f"{option} {word}: is an environment: write {option} venv:{word}")
        return Source(word, folder=folder.resolve())
    where = "" if _git(here, "rev-parse", "--git-dir") else f" ({here} is in no git repository)"
    raise InputError(f"{option} {word}: there is no such revision or folder{where}; give {FORMS}")


@contextmanager
def laid_out(source: Source, folder: Path, here: Path) -> Iterator[Place]:
    """Yields where a source lies: a revision in a worktree of its own below a folder, which is gone afterwards.

    Raises:
        WorkerError: git cannot lay it out.
    """
    if source.python is not None:
        yield Place(python=source.python)
    elif source.folder is not None:
        yield _place(source.folder)
    elif source.commit is None:
        yield Place()
    else:
        _git(here, "worktree", "prune")  # those of programs that were killed
        done = _run(here, "worktree", "add", "--detach", "--quiet", str(folder), source.commit)
        if done.returncode:
            words = done.stderr.strip().splitlines() or ["no reason given"]
            raise WorkerError(f"git cannot lay out {source.name}: {words[-1]}")
        try:
            yield _place(folder)
        finally:
            _git(here, "worktree", "remove", "--force", str(folder))


def top(here: Path) -> Path | None:
    """Returns the top folder of the git repository around a folder, None outside of any."""
    found = _git(here, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def _place(folder: Path) -> Place:
    """Returns a folder with its src/, if it has one, as what Python searches first."""
    return Place(folder, tuple(str(path) for path in (folder / "src", folder) if path.is_dir()))


def _python(path: Path, said: str) -> str:
    """Returns the Python of an environment.

    Raises:
        InputError: there is none.
    """
    python = path if path.is_file() else path / "bin" / "python"
    if not os.access(python, os.X_OK) or not python.is_file():
        raise InputError(f"{said}: there is no Python at {python}; give the folder of an environment")
    return str(python.absolute())


def _commit(word: str, here: Path) -> str:
    """Returns the commit that a word names, empty if none."""
    return _git(here, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}")


def _git(here: Path, *words: str) -> str:
    """Returns what git says, empty where it fails or is not there."""
    with suppress(WorkerError):
        done = _run(here, *words)
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""


def _run(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Returns a call of git, undisturbed by signals that are meant for us.

    Raises:
        WorkerError: there is no git, or it hangs.
    """
    try:
        return subprocess.run(  # noqa: S603  (arguments, no shell)
            ["git", "-C", str(here), *words],  # noqa: S607  (whichever git the user has)
            capture_output=True,
            text=True,
            check=False,
            timeout=GIT_SECONDS,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkerError(f"git cannot be used: {error}") from error
