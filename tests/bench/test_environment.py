"""Facts of machines that are not here: every test brings its own /proc, /sys and GPU."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from machines import FOUR_THREADS, GOVERNOR, GRAVITON, MEMINFO, QUIET, MakeMachine, machine_in

from bench.environment import (
    GIB,
    cgroup_limits,
    comparable_facts,
    differences,
    git_facts,
    informational_facts,
    package_versions,
    parse_cgroup,
    parse_cpu_quota,
    parse_cpuinfo,
    parse_git_status,
    parse_meminfo,
)
from bench.measurable import measurable


@pytest.fixture
def machine(tmp_path: Path) -> MakeMachine:
    return machine_in(tmp_path)


def test_a_hypervisor_that_says_little_is_still_told_apart() -> None:
    assert parse_cpuinfo(FOUR_THREADS) == {
        "cpu": "AMD EPYC",
        "cpu_signature": "AuthenticAMD 26 2",
        "cpu_simd": "avx512f",
        "cores_physical": 2,
    }
    other = FOUR_THREADS.replace(": 26", ": 25")
    assert differences(parse_cpuinfo(FOUR_THREADS), parse_cpuinfo(other)) == [
        ("cpu_signature", "AuthenticAMD 26 2", "AuthenticAMD 25 2")
    ]


def test_two_sockets_with_the_same_core_numbers_are_counted_apart() -> None:
    second = FOUR_THREADS.replace("physical id\t: 0", "physical id\t: 1")
    assert parse_cpuinfo(FOUR_THREADS + second)["cores_physical"] == 4


def test_an_arm_processor_has_numbers_for_a_name() -> None:
    assert parse_cpuinfo(GRAVITON) == {
        "cpu": "ARM 0x41 8 0xd40",
        "cpu_signature": "0x41 8 0xd40",
        "cpu_simd": "sve",
        "cores_physical": None,
    }


def test_no_processor_file_is_unknown_and_no_error() -> None:
    assert set(parse_cpuinfo("").values()) == {None}


def test_sizes_are_in_bytes_and_counts_left_out() -> None:
    sizes = parse_meminfo(MEMINFO)
    assert sizes["MemTotal"] == 24_684_084 * 1024
    assert "HugePages_Total" not in sizes


def test_comparable_facts_are_those_and_no_others(machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3})
    facts = comparable_facts(machine())
    assert list(facts) == [
        "cpu",
        "cpu_signature",
        "cpu_simd",
        "cores_physical",
        "cores_usable",
        "cpu_quota",
        "memory_bytes",
        "system",
        "python",
    ]
    assert facts["cores_usable"] == 2
    assert facts["memory_bytes"] == 24 * GIB
    assert facts["cpu_quota"] is None


def test_no_reading_of_the_moment_changes_the_comparable_facts(machine: MakeMachine) -> None:
    before = comparable_facts(machine())
    after = comparable_facts(
        machine(
            {
                "proc/cpuinfo": QUIET["proc/cpuinfo"].replace("2596.124", "1200.001"),
                "proc/meminfo": MEMINFO.replace("24684084", "24684076"),
                "proc/loadavg": "9.0 9.0 9.0 2/83 4884",
                GOVERNOR: "powersave",
            }
        )
    )
    assert differences(before, after) == []


def test_informational_facts_are_in_base_units(machine: MakeMachine) -> None:
    facts = informational_facts(machine())
    assert facts["load_average"] == 0.08
    assert facts["cpu_hz"] == 3.1e9
    assert facts["cpu_governor"] == "performance"
    assert facts["cpu_turbo"] == "off"
    assert facts["memory_total_bytes"] == 24_684_084 * 1024
    assert facts["swap_used_bytes"] == 0
    assert facts["transparent_huge_pages"] == "madvise"
    assert facts["virtual_machine"] is None
    assert facts["container"] is None
    assert facts["battery"] is None
    assert facts["date"].endswith("+00:00")


def test_the_clock_falls_back_to_what_the_processor_says(machine: MakeMachine) -> None:
    assert informational_facts(machine({"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": None}))[
        "cpu_hz"
    ] == pytest.approx(2.596124e9)


def test_an_empty_machine_is_unknown_everywhere_and_never_zero(tmp_path: Path) -> None:
    facts = informational_facts(tmp_path)
    known = {name for name, fact in facts.items() if fact is not None}
    assert known <= {"host", "date", "kernel"}
    assert comparable_facts(tmp_path)["memory_bytes"] is None


def test_this_machine_answers() -> None:
    assert comparable_facts()["cores_usable"] >= 1
    assert differences(comparable_facts(), comparable_facts()) == []
    assert len(measurable()) == 14


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"sys/class/dmi/id/sys_vendor": "QEMU", "sys/class/dmi/id/product_name": "KVM"}, "QEMU KVM"),
        ({}, "unnamed hypervisor"),
    ],
)
def test_a_virtual_machine_shows_by_the_processors_flag(
    machine: MakeMachine, files: dict[str, str | None], name: str
) -> None:
    assert informational_facts(machine(files | {"proc/cpuinfo": FOUR_THREADS}))["virtual_machine"] == name


def test_bare_metal_has_a_maker_and_is_no_virtual_machine(machine: MakeMachine) -> None:
    assert informational_facts(machine({"sys/class/dmi/id/sys_vendor": "Dell"}))["virtual_machine"] is None


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"proc/self/cgroup": "5:cpu:/kubepods/burstable/pod1\n"}, "kubepods"),
    ],
)
def test_a_container_is_recognised_by_what_it_leaves(
    machine: MakeMachine, files: dict[str, str | None], name: str
) -> None:
    assert informational_facts(machine(files))["container"] == name


# control groups


def test_lines_of_both_versions_are_read() -> None:
    assert parse_cgroup("4:cpu,cpuacct:/a:b\n0::/user.slice\nnonsense\n") == [
        ("cpu,cpuacct", "/a:b"),
        ("", "/user.slice"),
    ]


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [("150000", "100000", 1.5), ("max", "100000", None), ("-1", "100000", None), ("", "", None), ("100", "0", None)],
)
def test_a_quota_is_a_number_of_cores(quota: str, period: str, cores: float | None) -> None:
    assert parse_cpu_quota(quota, period) == cores


def test_version_2_takes_the_tightest_limit_on_the_way_up(machine: MakeMachine) -> None:
    root = machine(
        {
            "proc/self/cgroup": "0::/team/job\n",
            "sys/fs/cgroup/team/job/cpu.max": "max 100000\n",
            "sys/fs/cgroup/team/cpu.max": "250000 100000\n",
            "sys/fs/cgroup/team/job/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/team/memory.max": f"{4 * GIB}\n",
            "sys/fs/cgroup/memory.max": "max\n",
        }
    )
    assert cgroup_limits(root) == (2.5, 4 * GIB)
    assert comparable_facts(root)["memory_bytes"] == 4 * GIB
    assert comparable_facts(root)["cpu_quota"] == 2.5
    assert informational_facts(root)["memory_limit_bytes"] == 4 * GIB


def test_version_1_in_a_container_is_found_at_the_top_of_the_mount(machine: MakeMachine) -> None:
    root = machine(
        {
            "proc/self/cgroup": "4:memory:/docker/4711\n3:cpu,cpuacct:/docker/4711\n0::/\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
        }
    )
    assert cgroup_limits(root) == (2.0, 2 * GIB)


def test_the_largest_number_of_version_1_means_no_limit(machine: MakeMachine) -> None:
    root = machine(
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        }
    )
    assert cgroup_limits(root) == (None, None)


# fingerprints, packages, git


def test_differences_name_the_fact_and_both_sides() -> None:
    a, b = {"cpu": "A", "cores": 2, "only_a": 1}, {"cpu": "B", "cores": 2, "only_b": None}
    assert differences(a, b) == [("cpu", "A", "B"), ("only_a", 1, None)]


def test_versions_are_read_and_a_missing_package_is_unknown() -> None:
    versions = package_versions(("numpy", "no-such-package"))
    assert versions["numpy"].count(".") == 2
    assert versions["no-such-package"] is None
    assert {"torch", "numpy", "triton", "fvcore", "softmoe-bench"} <= set(package_versions())


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("# branch.oid abc\n# branch.head main\n", {"commit": "abc", "branch": "main", "dirty": False}),
        ("# branch.oid abc\n# branch.head (detached)\n", {"commit": "abc", "branch": None, "dirty": False}),
        ("# branch.oid abc\n# branch.head main\n? new.py\n", {"commit": "abc", "branch": "main", "dirty": True}),
        ("# branch.oid (initial)\n# branch.head main\n", {}),
        ("", {}),
    ],
)
def test_git_says_commit_branch_and_dirty(text: str, facts: dict[str, Any]) -> None:
    assert parse_git_status(text) == facts


def test_a_real_repository_even_inside_a_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    repository = tmp_path / "repository"
    name = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "topic", str(repository)], ["-C", str(repository), *name, "commit", "-q"]):
        extra = ["--allow-empty", "-m", "one"] if "commit" in command else []
        subprocess.run(["git", *command, *extra], check=True, env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    clean = git_facts(repository)
    assert len(clean["commit"]) == 40
    assert (clean["branch"], clean["dirty"]) == ("topic", False)
    (repository / "new.txt").write_text("new")
    assert git_facts(repository)["dirty"] is True


def test_no_repository_no_folder_and_no_git_are_no_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_facts(tmp_path) == {}
    assert git_facts(tmp_path / "missing") == {}
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert git_facts(Path(__file__).parent) == {}
