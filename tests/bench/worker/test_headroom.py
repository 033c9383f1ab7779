"""How much a worker may take, on machines that are not here."""

from pathlib import Path

import pytest
from machines import machine_in

from bench.worker import headroom

GIB = 2**30
GROUP = "sys/fs/cgroup/job"


def test_the_machine_tells_what_is_free(tmp_path: Path) -> None:
    assert headroom.available(machine_in(tmp_path)()) == 24252436 * 1024


def test_nothing_is_known_where_nothing_is_told(tmp_path: Path) -> None:
    assert headroom.available(tmp_path) is None


@pytest.mark.parametrize(
    ("membership", "folder", "files"),
    [
        ("0::/job/task\n", "sys/fs/cgroup/job", ("memory.max", "memory.current")),
        (
            "4:memory:/job\n0::/\n",
            "sys/fs/cgroup/memory/job",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_a_control_group_may_leave_less_and_its_cached_files_count_as_free(
    tmp_path: Path, membership: str, folder: str, files: tuple[str, str]
) -> None:
    limit, used = files
    machine = machine_in(tmp_path)(
        {
            "proc/self/cgroup": membership,
            f"{folder}/{limit}": f"{4 * GIB}\n",
            f"{folder}/{used}": f"{3 * GIB}\n",
            f"{folder}/memory.stat": f"anon 5\ninactive_file {GIB}\n",
        }
    )
    assert headroom.available(machine) == 2 * GIB


def test_a_control_group_without_a_limit_leaves_what_the_machine_has(tmp_path: Path) -> None:
    machine = machine_in(tmp_path)(
        {"proc/self/cgroup": "0::/job\n", f"{GROUP}/memory.max": "max\n", f"{GROUP}/memory.current": "7\n"}
    )
    assert headroom.available(machine) == 24252436 * 1024
