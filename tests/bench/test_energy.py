"""Counters of energy that are not here: a fake NVML, and files of RAPL that a test turns forward."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from machines import UUID, MakeMachine, fake_nvml, machine_in, no_driver

from bench.energy import POWERCAP, RaplCounter, cpu_counter, gpu_counter


@pytest.fixture
def machine(tmp_path: Path) -> MakeMachine:
    return machine_in(tmp_path)


def zone(number: str, name: str, microjoules: str | None, limit: str = "1000000") -> dict[str, str | None]:
    folder = f"{POWERCAP}/intel-rapl:{number}"
    return {
        f"{folder}/name": name,
        f"{folder}/energy_uj": microjoules,
        f"{folder}/max_energy_range_uj": limit,
    }


def turn(root: Path, number: str, microjoules: int) -> None:
    (root / POWERCAP / f"intel-rapl:{number}" / "energy_uj").write_text(f"{microjoules}\n")


# GPUs


def test_the_driver_s_millijoules_become_joules() -> None:
    count = iter([1_500, 1_500, 4_000])
    with gpu_counter(UUID, fake_nvml(nvmlDeviceGetTotalEnergyConsumption=lambda _: next(count))) as counter:
        assert counter is not None
        assert [counter.joules(), counter.joules()] == [1.5, 4.0]
        assert "GPU" in counter.name


def test_a_count_that_begins_at_nought_is_a_count() -> None:
    with gpu_counter(UUID, fake_nvml()) as counter:
        assert counter is not None
        assert counter.joules() == 0.0


def test_a_count_that_ends_is_unknown() -> None:
    nvml = fake_nvml()
    with gpu_counter(UUID, nvml) as counter:
        del nvml.nvmlDeviceGetTotalEnergyConsumption
        assert counter is not None
        assert counter.joules() is None


@pytest.mark.parametrize(
    ("uuid", "nvml"),
    [
        (UUID, no_driver()),
        ("another", fake_nvml()),
        (UUID, fake_nvml(nvmlDeviceGetTotalEnergyConsumption=None)),
        (UUID, fake_nvml(nvmlDeviceGetMigMode=lambda _: [1, 1])),
        (UUID, fake_nvml(nvmlDeviceGetDeviceHandleFromMigDeviceHandle=lambda _: "device")),
    ],
    ids=["no driver", "another device", "no counter", "cut into slices", "a slice"],
)
def test_where_a_gpu_counts_nothing_there_is_no_counter(uuid: str, nvml: SimpleNamespace) -> None:
    with gpu_counter(uuid, nvml) as counter:
        assert counter is None


def test_a_device_that_knows_no_slices_is_not_cut_into_them() -> None:
    with gpu_counter(UUID, fake_nvml(nvmlDeviceGetMigMode=None)) as counter:
        assert counter is not None


def test_nvml_is_closed_after_the_count() -> None:
    closed: list[str] = []
    with gpu_counter(UUID, fake_nvml(nvmlShutdown=lambda: closed.append("closed"))):
        assert closed == []
    assert closed == ["closed"]


# processors


def test_packages_are_summed_and_their_parts_left_out(machine: MakeMachine) -> None:
    root = machine(
        zone("0", "package-0", "100000")
        | zone("0:0", "core", "70000")
        | zone("1", "package-1", "200000")
        | zone("2", "psys", "900000")
    )
    counter = cpu_counter(root)
    assert counter is not None
    assert counter.joules() == 0.0
    for number in ("0", "0:0", "1", "2"):
        turn(root, number, 950_000)
    assert counter.joules() == (850_000 + 750_000) / 1e6


def test_a_counter_that_begins_anew_goes_on(machine: MakeMachine) -> None:
    root = machine(zone("0", "package-0", "900000"))
    counter = RaplCounter(root)
    assert counter.joules() == 0.0
    turn(root, "0", 50_000)
    assert counter.joules() == 0.15
    turn(root, "0", 60_000)
    assert counter.joules() == 0.16
    turn(root, "0", 10_000)
    assert counter.joules() == 1.11


def test_a_counter_that_begins_anew_at_an_unknown_limit_is_unknown(machine: MakeMachine) -> None:
    root = machine(zone("0", "package-0", "900000", limit=""))
    counter = RaplCounter(root)
    assert counter.joules() == 0.0
    turn(root, "0", 950_000)
    assert counter.joules() == 0.05
    turn(root, "0", 40_000)
    assert counter.joules() is None


def test_one_package_that_may_not_be_read_makes_the_sum_unknown(machine: MakeMachine) -> None:
    root = machine(zone("1", "package-1", None))
    assert RaplCounter(root).joules() is None
    assert cpu_counter(root) is None


def test_a_machine_without_packages_has_no_counter(tmp_path: Path) -> None:
    assert RaplCounter(tmp_path).joules() is None
    assert cpu_counter(tmp_path) is None


def test_a_zone_that_is_no_package_is_no_counter(machine: MakeMachine) -> None:
    assert cpu_counter(machine(zone("0", "psys", "5"))) is None
