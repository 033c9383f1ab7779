"""Disks that are full, and stores that have lived through something."""

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disks(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Yields what mounts a disk of a size; where that is not permitted, the test is skipped and says so."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        path = folder / f"disk{len(mounted)}"
        path.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
        mounted.append(path)
        return path

    try:
        yield mount
    finally:
        for path in mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path) -> None:
    """Leaves no byte free on a disk."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def is_sound(store: Path) -> bool:
    """Whether SQLite finds nothing wrong with a store, once it has put right what a killed writer left."""
    connection = sqlite3.connect(store, timeout=60)
    try:
        return [row for (row,) in connection.execute("PRAGMA integrity_check")] == ["ok"]
    finally:
        connection.close()
