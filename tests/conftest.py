"""What a test needs that a machine may not have: such a test is skipped, and says why."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from disks import small_disks


@cache
def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


NEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "gpu": (has_cuda, "torch sees no CUDA device"),
    "browser": (lambda: shutil.which("chromium"), "chromium is not on the PATH"),
    "postgres": (lambda: os.environ.get("SOFTMOE_BENCH_TEST_POSTGRES"), "SOFTMOE_BENCH_TEST_POSTGRES names no server"),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, (there, reason) in NEEDS.items():
        if item.get_closest_marker(marker) and not there():
            pytest.skip(reason)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    with small_disks(tmp_path) as mount:
        yield mount
